"""What a hostile sidecar with a good token can do to storage, and to others: over real connections."""

import asyncio
import contextlib
import hashlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

from infertap import v1
from infertap.identity import Guard, make_server, open_roster
from storage.archive import ArchiveError, open_archive
from storage.audit import ForeignSpoolError, Spools
from storage.ingest import service as ingest_room
from storage.ingest import stretches as stretches_room
from storage.ingest.room import Room
from storage.ingest.service import Ingest
from storage.ingest.streams import Streams
from storage.ingest.writer import Writer
from storage.live import InFlight, Live
from storage.numbers import Numbers

if TYPE_CHECKING:
    from tests.storage.conftest import Making

WAIT_SECONDS = 20
LATER = 1000.0
IDENTITY = '[[identity]]\nname = "{0}"\ntenant = "{0}"\nroles = ["ingest"]\ntokens = ["sha256:{1}"]\n'


class Refusals:
    def refused(self, *_: object) -> None:
        """Not of interest here."""


class Storage:
    """Ingest behind a guard that knows red and blue."""

    def __init__(self, directory: Path, streams: Streams, new_spools: int | None = None) -> None:
        self.archive: Any = open_archive(str(directory / "archive"), 256 << 20)
        self.numbers = Numbers()
        self.streams = streams
        self.room = Room(4 << 20)
        in_flight, live = InFlight(), Live()
        self.spools = Spools(self.archive.audit, self.archive.received, new_a_day=new_spools)
        self.writer = Writer(self.archive, live, self.numbers, in_flight)
        file = directory / "identities.toml"
        file.write_text("".join(IDENTITY.format(name, digest(name)) for name in ("red", "blue")))
        guard = Guard(open_roster(str(file), lambda *_, **__: None), Refusals())
        self.server = make_server([guard], [("grpc.so_reuseport", 0)])
        ingest = Ingest(
            self.archive,
            self.writer,
            self.numbers,
            in_flight,
            live,
            room=self.room,
            streams=streams,
            spools=self.spools,
        )
        v1.add_IngestServiceServicer_to_server(ingest, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    async def __aenter__(self) -> "Storage":
        self.writing = asyncio.create_task(self.writer.run())
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop(0)
        self.writing.cancel()
        await asyncio.gather(self.writing, return_exceptions=True)
        self.archive.close()

    def counted(self, name: str) -> float:
        """A figure, over all labels."""
        lines = self.numbers.exposition().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"infertap_storage_{name}"))


def digest(name: str) -> str:
    return hashlib.sha256(f"token of {name}".encode()).hexdigest()


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    async with Storage(tmp_path, Streams(4), new_spools=5) as made:
        yield made


class Sidecar:
    """One stream, on a connection of its own."""

    def __init__(self, storage: Storage, name: str) -> None:
        # Without the probe the window stays small, so that who reads nothing is soon stuck.
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0))
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{storage.port}", options=options)
        metadata = (("authorization", f"Bearer token of {name}"),)
        self.call: Any = v1.IngestServiceStub(self._channel).Ingest(metadata=metadata)

    async def __aenter__(self) -> "Sidecar":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.call.cancel()
        await self._channel.close()

    async def hello(self, spool_id: bytes) -> bool:
        """Whether it was welcomed."""
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            async with asyncio.timeout(WAIT_SECONDS):
                await self.call.write(v1.IngestRequest(hello=v1.Hello(spool_id=spool_id)))
                answer = await self.call.read()
            return answer is not grpc.aio.EOF and answer.HasField("welcome")
        return False

    async def batch(self, *entries: v1.Entry) -> None:
        await self.call.write(v1.IngestRequest(batch=v1.Batch(entries=entries)))

    async def code(self) -> grpc.StatusCode:
        async with asyncio.timeout(WAIT_SECONDS):
            found: grpc.StatusCode = await self.call.code()
        return found


async def await_true(claim: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not claim():  # noqa: ASYNC110  (nothing tells)
            await asyncio.sleep(0.01)


def spool(number: int) -> bytes:
    return bytes([number]) * 16


async def test_one_identity_leaves_streams_to_others(storage: Storage, making: "Making") -> None:
    """Whoever has taken all streams loses some to who comes with fewer, and is refused meanwhile."""
    async with contextlib.AsyncExitStack() as stack:
        red = []
        for number in range(5):
            red.append(await stack.enter_async_context(Sidecar(storage, "red")))
            assert await red[number].hello(spool(number)) == (number < 4)
        assert await red[4].code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        blue = await stack.enter_async_context(Sidecar(storage, "blue"))
        assert await blue.hello(spool(9))
        await blue.batch(making.sent(1, spool(9)))
        assert (await blue.call.read()).ack.ranges
        assert await red[3].code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await red[0].batch(making.sent(1, spool(0)))
        assert (await red[0].call.read()).ack.ranges
    await await_true(lambda: len(storage.streams) == 0)


async def test_who_says_nothing(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream without a hello ends, and so does one that never gets further with its next message."""
    async with Sidecar(storage, "red") as silent:
        assert await silent.hello(spool(1))
        await await_true(lambda: storage.counted("streams_ended_total") or sweep(storage))
        assert await silent.code() is grpc.StatusCode.UNAVAILABLE
    monkeypatch.setattr(ingest_room, "HELLO_SECONDS", 0.05)
    async with Sidecar(storage, "red") as dumb:
        assert await dumb.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await await_true(lambda: len(storage.streams) == 0)


async def test_who_reads_no_answers(storage: Storage) -> None:
    """What is kept for a stream that takes no answers goes after a time; it counts until it is gone."""
    bad = [v1.Entry(record=v1.SpooledRecord(sequence=each)) for each in range(1, 2_000)]
    async with Sidecar(storage, "red") as deaf:
        assert await deaf.hello(spool(1))
        sending = asyncio.create_task(send_for_ever(deaf, bad))
        await await_stuck(storage)
        sweep(storage)
        await await_true(lambda: storage.counted("spools_connected") == 0)
        assert len(storage.streams) == 1
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    await await_true(lambda: len(storage.streams) == 0)


def sweep(storage: Storage) -> None:
    """As when much time has passed."""
    storage.streams.sweep(time.monotonic() + LATER)


async def send_for_ever(sidecar: Sidecar, entries: list[v1.Entry]) -> None:
    while True:
        await sidecar.batch(*entries)


async def await_stuck(storage: Storage) -> None:
    """Until the one stream has had the same answer for its sidecar over many turns of the loop: a time alone
    passes also where the machine is busy.
    """
    (caller,) = storage.streams._callers.values()
    (stream,) = caller.richest
    since, turns = None, 0
    async with asyncio.timeout(WAIT_SECONDS):
        while turns < 50:
            await asyncio.sleep(0.01)
            is_same = since is not None and stream.answering_since == since
            since, turns = stream.answering_since, turns + 1 if is_same else 0


async def test_one_spool_id_has_one_tenant(storage: Storage) -> None:
    """Two that come with one new spool id at once: one of them has it, whoever it is."""
    for number in range(3):
        async with Sidecar(storage, "red") as red, Sidecar(storage, "blue") as blue:
            welcomed = await asyncio.gather(red.hello(spool(number)), blue.hello(spool(number)))
            assert sorted(welcomed) == [False, True]
            refused = blue if welcomed[0] else red
            assert await refused.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_whose_a_new_spool_is_survives(storage: Storage) -> None:
    """Before a new spool is welcome it is durable whose it is: whatever ends storage, it is no other's."""
    async with Sidecar(storage, "red") as red:
        assert await red.hello(spool(1))
        after_a_kill = Spools(storage.archive.audit, storage.archive.received)
        with pytest.raises(ForeignSpoolError):
            after_a_kill.connected(v1.Hello(spool_id=spool(1)), "blue", time.time_ns())


async def test_many_new_spools_are_kept_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many come at once, there are few commits; one that is known waits for none."""
    async with Storage(tmp_path, Streams(100)) as storage, contextlib.AsyncExitStack() as stack:
        tables, go_on = storage.archive.audit, threading.Event()
        kept: list[int] = []
        put = tables.put

        def put_slowly(kind: str, notes: Mapping[bytes, bytes]) -> None:
            assert go_on.wait(WAIT_SECONDS)
            kept.append(len(notes))
            put(kind, notes)

        async with Sidecar(storage, "red") as known:
            assert await known.hello(spool(0))
        monkeypatch.setattr(tables, "put", put_slowly)
        sidecars = [await stack.enter_async_context(Sidecar(storage, "red")) for _ in range(21)]
        hellos = [asyncio.create_task(each.hello(spool(n))) for n, each in enumerate(sidecars[1:], 1)]
        await await_true(lambda: len(storage.spools._known) == 21)
        assert await sidecars[0].hello(spool(0))
        assert not any(each.done() for each in hellos)
        go_on.set()
        assert all(await asyncio.gather(*hellos))
        assert len(kept) <= 2


async def test_a_new_spool_that_can_not_be_kept(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sidecar hears that it may come back; then it is welcome, and durable."""

    def fail(*_: object) -> None:
        raise ArchiveError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(storage.archive.audit, "put", fail)
        async with Sidecar(storage, "red") as red:
            assert not await red.hello(spool(1))
            assert await red.code() is grpc.StatusCode.UNAVAILABLE
    async with Sidecar(storage, "red") as red:
        assert await red.hello(spool(1))
    assert storage.archive.audit.notes("spool", b"", 10)


async def test_new_spools_are_bounded(storage: Storage) -> None:
    """An identity begins so many in a day; spools that are known, and others' new ones, are welcome."""
    found = []
    for number in range(6):
        async with Sidecar(storage, "red") as red:
            found.append(await red.hello(spool(number)))
    assert found == [True] * 5 + [False]
    async with Sidecar(storage, "red") as known, Sidecar(storage, "blue") as other:
        assert await known.hello(spool(0))
        assert await other.hello(spool(7))
    assert storage.counted("spools_refused_total") == 1


async def test_holes_of_a_spool_are_bounded(
    storage: Storage, making: "Making", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spool that leaves more and more holes is refused; as far as it has come it goes on."""
    monkeypatch.setattr(stretches_room, "MOST_STRETCHES", 10)
    monkeypatch.setattr(ingest_room, "MOST_STRETCHES", 10)
    async with Sidecar(storage, "red") as red:
        assert await red.hello(spool(1))
        for sequence in range(2, 22, 2):
            await red.batch(making.sent(sequence, spool(1)))
            assert (await red.call.read()).ack.ranges
        await red.batch(making.sent(40, spool(1)))
        assert await red.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(storage.archive.received(spool(1))) == 10


async def test_far_ends(storage: Storage) -> None:
    """The largest sequences and gaps there can be are kept as they are, and larger ones refused."""
    most = (1 << 63) - 1
    async with Sidecar(storage, "red") as red:
        assert await red.hello(spool(1))
        await red.batch(v1.Entry(gap=v1.Gap(first=2, last=most, reason="é" * 1000)))
        assert (await red.call.read()).ack.ranges[0].last == most
        heartbeat = v1.Heartbeat(next_sequence=(1 << 64) - 1, pending=(1 << 64) - 1, last_hash=bytes(99))
        heartbeat.account["x" * 10_000] = (1 << 64) - 1
        heartbeat.time.seconds = -(1 << 62)
        await red.call.write(v1.IngestRequest(heartbeat=heartbeat))
        await red.batch(v1.Entry(gap=v1.Gap(first=1, last=most + 1)))
        assert await red.code() is grpc.StatusCode.INVALID_ARGUMENT
    now_ns = time.time_ns()
    storage.spools.flush()
    storage.spools.look(now_ns)
    (known,) = storage.spools.listed("red", now_ns)
    assert known.received == most - 1
    assert storage.spools.find_holes(now_ns) == []
    assert [each.last for each in storage.spools.find_holes(now_ns + (1 << 40))] == [1]
    assert storage.numbers.exposition()


async def test_floods_of_calls_in_flight(storage: Storage, making: "Making") -> None:
    """Messages of very many calls take turns, and those for which there is no time are passed over, counted;
    another's records are taken meanwhile. More calls than a sidecar tells of at once are refused.
    """
    ended = v1.InFlight(ended=[number.to_bytes(16, "big") for number in range(20_000)])
    async with Sidecar(storage, "red") as red, Sidecar(storage, "blue") as blue:
        assert await red.hello(spool(1))
        assert await blue.hello(spool(2))
        for _ in range(3):
            await red.call.write(v1.IngestRequest(in_flight=ended))
        await blue.batch(making.sent(1, spool(2)))
        assert (await blue.call.read()).ack.ranges
        calls = [v1.Record(call_id=str(number)) for number in range(3_000)]
        await red.call.write(v1.IngestRequest(in_flight=v1.InFlight(calls=calls)))
        assert await red.code() is grpc.StatusCode.INVALID_ARGUMENT
