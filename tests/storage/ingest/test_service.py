"""IngestService over a real connection: what is taken, rejected and refused."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from infertap import v1
from storage.archive import ArchiveError, Entry, RecordEntry, open_archive
from storage.ingest import service as ingest_module
from storage.ingest.entry_checks import RECORD_BYTES
from storage.ingest.recalling import Recalling
from storage.ingest.room import Room
from storage.ingest.service import Ingest
from storage.ingest.under_way import MOST_WEIGHT
from storage.ingest.writer import Writer
from storage.live import InFlight, Live
from storage.numbers import Numbers

if TYPE_CHECKING:
    from tests.storage.conftest import Making

SPOOL = b"s" * 16
CALL = "73737373-0000-7000-8000-000000000001"
WAIT_SECONDS = 20
ROOM_BYTES = 256 << 10


class Served:
    """An ingest service on a free port, over an archive that a test can make fail."""

    def __init__(self, directory: Path) -> None:
        self.archive = open_archive(str(directory), 256 << 20)
        self.numbers = Numbers()
        self.live = Live()
        self.in_flight = InFlight()
        self.writer = Writer(self, self.live, self.numbers, self.in_flight)  # type: ignore[arg-type]
        self.fails = False
        self.gate = threading.Event()
        self.gate.set()
        self.room = Room(ROOM_BYTES)

    # -- the archive, as the writer sees it

    def append(self, entries: Sequence[Entry], stored_ns: int) -> list[RecordEntry]:
        if self.fails:
            raise ArchiveError("disk full")
        assert self.gate.wait(WAIT_SECONDS)
        return self.archive.append(entries, stored_ns)

    async def start(self) -> str:
        self.writing = asyncio.create_task(self.writer.run())
        self.server = grpc.aio.server()
        self.recalling = Recalling()
        ingest = Ingest(
            self.archive,
            self.writer,
            self.numbers,
            self.in_flight,
            self.live,
            room=self.room,
            recalling=self.recalling,
        )
        v1.add_IngestServiceServicer_to_server(ingest, self.server)
        port = self.server.add_insecure_port("127.0.0.1:0")
        await self.server.start()
        return f"127.0.0.1:{port}"

    async def stop(self) -> None:
        await self.server.stop(0)
        self.writing.cancel()
        await asyncio.gather(self.writing, return_exceptions=True)
        self.archive.close()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    made = Served(tmp_path / "archive")
    made.address = await made.start()  # type: ignore[attr-defined]
    yield made
    await made.stop()


class Spool:
    """The other end of one stream."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address)
        self._call = v1.IngestServiceStub(self._channel).Ingest()

    async def __aenter__(self) -> "Spool":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()
        await self._channel.close()

    async def send(self, request: v1.IngestRequest) -> None:
        await self._call.write(request)

    async def batch(self, *entries: v1.Entry) -> None:
        await self.send(v1.IngestRequest(batch=v1.Batch(entries=entries)))

    async def read(self) -> Any:
        async with asyncio.timeout(WAIT_SECONDS):
            return await self._call.read()

    async def hello(self, spool_id: bytes = SPOOL) -> list[tuple[int, int]]:
        await self.send(v1.IngestRequest(hello=v1.Hello(spool_id=spool_id)))
        return ranges((await self.read()).welcome.received)

    async def end(self) -> tuple[grpc.StatusCode, str]:
        """The status, once every answer has been read."""
        async with asyncio.timeout(WAIT_SECONDS):
            with contextlib.suppress(grpc.aio.AioRpcError):
                while await self._call.read() is not grpc.aio.EOF:
                    pass
            return await self._call.code(), await self._call.details()


def ranges(listed: Sequence[v1.SequenceRange]) -> list[tuple[int, int]]:
    return [(each.first, each.last) for each in listed]


async def test_taken(served: Served, making: "Making") -> None:
    """A batch is acknowledged when it is durable, and a later connection is told what is here."""
    async with Spool(served.address) as spool:  # type: ignore[attr-defined]
        assert await spool.hello() == []
        await spool.batch(*(making.sent(sequence) for sequence in (1, 2, 3, 7)))
        assert ranges((await spool.read()).ack.ranges) == [(1, 3), (7, 7)]
        assert served.archive.received(SPOOL) == [(1, 3), (7, 7)]
    async with Spool(served.address) as again:  # type: ignore[attr-defined]
        assert await again.hello() == [(1, 3), (7, 7)]


async def test_unread_answers_are_bounded(served: Served, making: "Making") -> None:
    """A stream whose answers are not given yet is read only so far, however many entries it sends; then all
    are answered.
    """
    served.room.give_back(ROOM_BYTES * 9)  # it is not what bounds this
    served.gate.clear()
    bad = [v1.Entry(record=v1.SpooledRecord(sequence=each)) for each in range(2, 5_002)]
    async with Spool(served.address) as spool:  # type: ignore[attr-defined]
        await spool.hello()
        await spool.batch(making.sent(1))

        async def send() -> None:
            for _ in range(6):  # one after the other: gRPC takes one write at a time on a stream
                await spool.batch(*bad)

        # Whatever fails meanwhile, the stream's end is no news to what still sends.
        sending = asyncio.gather(send(), return_exceptions=True)
        async with asyncio.timeout(WAIT_SECONDS):
            while served.numbers.rejected._value.get() < 15_000:  # noqa: ASYNC110  (counters set no event)
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
        assert served.numbers.rejected._value.get() <= MOST_WEIGHT
        served.gate.set()
        answers = [await spool.read() for _ in range(1 + 6 * 5_000)]
        assert await sending == [None]
    assert ranges(answers[0].ack.ranges) == [(1, 1)]
    assert all(each.reject.reason for each in answers[1:])


async def test_several_batches_under_way(served: Served, making: "Making") -> None:
    """Answers come in the order of the batches."""
    async with Spool(served.address) as spool:  # type: ignore[attr-defined]
        await spool.hello()
        for first in range(1, 101, 10):
            await spool.batch(*(making.sent(sequence) for sequence in range(first, first + 10)))
        for first in range(1, 101, 10):
            assert ranges((await spool.read()).ack.ranges) == [(first, first + 9)]


async def test_sent_again(served: Served, making: "Making") -> None:
    """What is here already is acknowledged again and stored once."""
    for _ in range(2):
        async with Spool(served.address) as spool:  # type: ignore[attr-defined]
            await spool.hello()
            await spool.batch(making.sent(1))
            assert ranges((await spool.read()).ack.ranges) == [(1, 1)]
    assert b"infertap_storage_records_total 1.0" in served.numbers.exposition()
    assert b"infertap_storage_duplicates_total 1.0" in served.numbers.exposition()


async def test_recalled(served: Served, making: "Making") -> None:
    """Every stream ends as one that may be begun again, after which a later one is as any other."""
    async with Spool(served.address) as one, Spool(served.address) as other:  # type: ignore[attr-defined]
        await one.hello()
        await other.hello(b"t" * 16)
        await one.batch(making.sent(1))
        assert (await one.read()).HasField("ack")
        await served.recalling.recall()
        for spool in (one, other):
            assert (await spool.end())[0] is grpc.StatusCode.UNAVAILABLE
    async with Spool(served.address) as again:  # type: ignore[attr-defined]
        assert await again.hello() == [(1, 1)]
    await served.recalling.recall()


async def test_gaps(served: Served) -> None:
    """A gap is acknowledged, and counts as received."""
    async with Spool(served.address) as spool:  # type: ignore[attr-defined]
        await spool.hello()
        await spool.batch(v1.Entry(gap=v1.Gap(first=1, last=9, last_hash=bytes(32), reason="evicted")))
        assert ranges((await spool.read()).ack.ranges) == [(1, 9)]


def spooled(**fields: Any) -> v1.Entry:
    given = {"sequence": 5, "previous_hash": bytes(32), "salt": bytes(16), "record": b""} | fields
    return v1.Entry(record=v1.SpooledRecord(**given))


@pytest.mark.parametrize(
    "entry",
    [
        spooled(record=b"\xff\xff\xff"),
        spooled(record=v1.Record(path="/").SerializeToString()),
        spooled(record=bytes(RECORD_BYTES + 1)),
        spooled(record=v1.Record(call_id="c", timing=v1.Timing(start=Timestamp())).SerializeToString()),
        spooled(
            record=v1.Record(
                call_id="{" + CALL + "}", timing=v1.Timing(start=Timestamp())
            ).SerializeToString()
        ),
        spooled(
            record=v1.Record(call_id=CALL, timing=v1.Timing(start=Timestamp(nanos=-5))).SerializeToString()
        ),
        spooled(
            record=v1.Record(call_id=CALL, timing=v1.Timing(start=Timestamp(seconds=-1))).SerializeToString()
        ),
        spooled(
            record=v1.Record(
                call_id=CALL, timing=v1.Timing(start=Timestamp(seconds=1 << 62))
            ).SerializeToString()
        ),
        spooled(salt=b"short"),
        spooled(previous_hash=b"short"),
    ],
)
async def test_rejected(served: Served, making: "Making", entry: v1.Entry) -> None:
    """An entry that can never be taken is rejected alone, with its sequence; the others are stored."""
    async with Spool(served.address) as spool:  # type: ignore[attr-defined]
        await spool.hello()
        await spool.batch(making.sent(4), entry, making.sent(6))
        answers = [await spool.read(), await spool.read()]
        [rejected] = [each.reject for each in answers if each.HasField("reject")]
        [acked] = [each.ack for each in answers if each.HasField("ack")]
        assert rejected.sequence == 5
        assert rejected.reason
        assert ranges(acked.ranges) == [(4, 4), (6, 6)]


@pytest.mark.parametrize(
    ("requests", "field"),
    [
        ([v1.IngestRequest()], "hello"),
        ([v1.IngestRequest(batch=v1.Batch())], "hello"),
        ([v1.IngestRequest(hello=v1.Hello(spool_id=b"short"))], "hello.spool_id"),
        ([v1.IngestRequest(hello=v1.Hello(spool_id=SPOOL))] * 2, "batch"),
        (
            [
                v1.IngestRequest(hello=v1.Hello(spool_id=SPOOL)),
                v1.IngestRequest(batch=v1.Batch(entries=[v1.Entry()])),
            ],
            "batch.entries[0]",
        ),
        (
            [
                v1.IngestRequest(hello=v1.Hello(spool_id=SPOOL)),
                v1.IngestRequest(batch=v1.Batch(entries=[spooled(sequence=0)])),
            ],
            "batch.entries[0].record.sequence",
        ),
        (
            [
                v1.IngestRequest(hello=v1.Hello(spool_id=SPOOL)),
                v1.IngestRequest(batch=v1.Batch(entries=[v1.Entry(gap=v1.Gap(first=9, last=3))])),
            ],
            "batch.entries[0].gap.last",
        ),
    ],
)
async def test_refused(served: Served, requests: list[v1.IngestRequest], field: str) -> None:
    """Who breaks the protocol hears which field is wrong."""
    async with Spool(served.address) as spool:  # type: ignore[attr-defined]
        for request in requests:
            await spool.send(request)
        code, details = await spool.end()
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert details.startswith(f"{field}: ")


async def test_archive_that_fails(served: Served, making: "Making") -> None:
    """What can't be stored is not acknowledged: the stream ends, and the same batch is taken later."""
    served.fails = True
    async with Spool(served.address) as spool:  # type: ignore[attr-defined]
        await spool.hello()
        await spool.batch(making.sent(1))
        code, details = await spool.end()
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "disk full" in details
    served.fails = False
    async with Spool(served.address) as spool:  # type: ignore[attr-defined]
        assert await spool.hello() == []
        await spool.batch(making.sent(1))
        assert ranges((await spool.read()).ack.ranges) == [(1, 1)]


async def test_in_flight(served: Served, making: "Making") -> None:
    """Calls in flight are known by the time that what was sent after them is acknowledged, and to listeners;
    records that come for them end them.
    """
    open_call = making.record(1, state=v1.INFERENCING)
    with served.live.listening() as listener:
        async with Spool(served.address) as spool:  # type: ignore[attr-defined]
            await spool.send(v1.IngestRequest(hello=v1.Hello(spool_id=SPOOL)))
            assert (await spool.read()).welcome.takes_in_flight
            await spool.send(v1.IngestRequest(in_flight=v1.InFlight(calls=[open_call])))
            await spool.batch(making.sent(2))
            assert (await spool.read()).HasField("ack")
            (known,) = served.in_flight.calls()
            assert known.shown(known.told).call_id == open_call.call_id
            told = await anext(listener)
            assert (told.call_id, told.state, told.sequence) == (open_call.call_id, v1.INFERENCING, 0)
            await spool.batch(making.sent(1))
            await spool.read()
            assert served.in_flight.calls() == []
    assert served.archive.received(SPOOL) == [(1, 2)]


async def test_in_flight_comes_after_the_records_before_it(served: Served, making: "Making") -> None:
    """A call that is told to have ended is gone only once the records that were sent before are durable."""
    open_call = making.record(1, state=v1.INFERENCING)
    async with Spool(served.address) as spool:  # type: ignore[attr-defined]
        await spool.hello()
        await spool.send(v1.IngestRequest(in_flight=v1.InFlight(calls=[open_call])))
        for sequence in (1, 2):
            await spool.batch(making.sent(sequence))
        ended = bytes.fromhex(open_call.call_id.replace("-", ""))
        await spool.send(v1.IngestRequest(in_flight=v1.InFlight(ended=[ended])))
        await spool.batch(making.sent(3))
        for _ in range(3):
            await spool.read()
        assert served.in_flight.calls() == []


async def test_end_of_the_stream(served: Served, making: "Making") -> None:
    """What was in flight stays for a while when its stream ends."""
    async with Spool(served.address) as spool:  # type: ignore[attr-defined]
        await spool.hello()
        open_call = making.record(1, state=v1.INFERENCING)
        await spool.send(v1.IngestRequest(in_flight=v1.InFlight(calls=[open_call])))
        await spool.batch(making.sent(2))
        await spool.read()
    assert len(served.in_flight) == 1


async def test_batches_of_all_streams_share_one_room(served: Served, making: "Making") -> None:
    """While the disk stands still, no more is read from many senders than there is room for; all comes."""
    count, size = 8, 100_000
    batches = [making.sent(sequence, request__data=b"x" * size) for sequence in range(1, 4)]
    most_bytes = sum(map(v1.Entry.ByteSize, batches)) * count
    assert most_bytes > 4 * ROOM_BYTES
    async with contextlib.AsyncExitStack() as stack:
        spools = [
            await stack.enter_async_context(Spool(served.address))  # type: ignore[attr-defined]
            for _ in range(count)
        ]
        served.gate.clear()
        for number, spool in enumerate(spools):
            await spool.hello(bytes([number]) * 16)
            for each in batches:
                await spool.batch(each)
        async with asyncio.timeout(WAIT_SECONDS):
            while served.room.taken < ROOM_BYTES - size - 1000:  # noqa: ASYNC110  (nothing tells)
                await asyncio.sleep(0.01)
        assert served.room.taken <= ROOM_BYTES
        served.gate.set()
        for spool in spools:
            acked = [each for _ in batches for each in ranges((await spool.read()).ack.ranges)]
            assert acked == [(1, 1), (2, 2), (3, 3)]
    assert served.room.taken == 0


async def test_what_a_spool_is_told_is_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many ranges the latest are told; what comes again for it is acknowledged, and kept once."""
    monkeypatch.setattr(ingest_module, "MOST_RANGES", 2)
    async with Spool(served.address) as spool:  # type: ignore[attr-defined]
        await spool.hello()
        gaps = [v1.Entry(gap=v1.Gap(first=each, last=each, reason="evicted")) for each in (1, 3, 5)]
        await spool.batch(*gaps)
        await spool.read()
    async with Spool(served.address) as again:  # type: ignore[attr-defined]
        assert await again.hello() == [(3, 3), (5, 5)]
        await again.batch(gaps[0])
        assert ranges((await again.read()).ack.ranges) == [(1, 1)]
    assert served.archive.received(SPOOL) == [(1, 1), (3, 3), (5, 5)]
