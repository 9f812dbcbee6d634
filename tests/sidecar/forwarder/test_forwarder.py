"""The forwarder between a real spool and a storage that misbehaves as it is told to."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from infertap import v1
from infertap.connection import Connection as Way
from sidecar.forwarder import Forwarder, connection
from sidecar.forwarder.caution import Caution
from sidecar.forwarder.connection import Connection, Signals, Tally, Timing, Trouble
from sidecar.forwarder.window import MAX_BATCHES
from sidecar.handoff import Progress, Round
from sidecar.in_flight import CallInFlight, InFlight
from sidecar.spool import Spool

WAIT_SECONDS = 15.0


class FakeStorage(v1.IngestServiceServicer):
    """Keeps what it is sent, and answers or does not."""

    def __init__(self) -> None:
        self.hellos: list[v1.Hello] = []
        # Every entry of every batch, in the order of arrival; those that were acknowledged by sequence.
        self.entries: list[v1.Entry] = []
        self.batches = 0
        self.kept: dict[int, v1.Entry] = {}
        self.received: list[tuple[int, int]] = []
        self.welcomes = True
        # Connections that are refused, as when there are as many as may be.
        self.refuses = 0
        self.takes_in_flight = True
        self.in_flight: list[v1.InFlight] = []
        self.takes_heartbeats = False
        self.heartbeats: list[v1.Heartbeat] = []
        self.acks = True
        self.rejects: set[int] = set()
        # Told to be forgotten with the next batch.
        self.forgets: list[tuple[int, int]] = []
        # Refused with every batch, though it was never sent.
        self.rejects_also = 0
        # Ends the stream at so many batches, without an acknowledgement.
        self.breaks_at = 0
        self.breaks_with = grpc.StatusCode.UNAVAILABLE
        # Of these it ends the stream, whatever else is in the batch.
        self.poison: set[int] = set()
        self.refuses_hello = False
        self._server: grpc.aio.Server | None = None
        self.port = 0

    async def Ingest(self, requests: Any, context: Any) -> AsyncIterator[v1.IngestResponse]:  # noqa: N802
        async for request in requests:
            if request.HasField("hello"):
                self.hellos.append(request.hello)
                if self.refuses:
                    self.refuses -= 1
                    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "streams: as many as may be")
                if self.refuses_hello:
                    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "hello")
                if not self.welcomes:
                    await asyncio.sleep(WAIT_SECONDS)
                here = self.received or [(number, number) for number in self.kept if self.poison]
                told = [v1.SequenceRange(first=first, last=last) for first, last in here]
                welcome = v1.Welcome(
                    received=told,
                    takes_in_flight=self.takes_in_flight,
                    takes_heartbeats=self.takes_heartbeats,
                )
                yield v1.IngestResponse(welcome=welcome)
                continue
            if request.HasField("in_flight"):
                self.in_flight.append(request.in_flight)
                continue
            if request.HasField("heartbeat"):
                self.heartbeats.append(request.heartbeat)
                continue
            self.batches += 1
            self.entries += request.batch.entries
            if self.batches == self.breaks_at:
                await context.abort(self.breaks_with, "killed")
            if not self.poison.isdisjoint(entry.record.sequence for entry in request.batch.entries):
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "batch.entries: not understood")
            if self.acks:
                for response in self._answers(request.batch):
                    yield response

    def _answers(self, batch: v1.Batch) -> list[v1.IngestResponse]:
        ranges = []
        answers = []
        if self.rejects_also:
            answers.append(v1.IngestResponse(reject=v1.Reject(sequence=self.rejects_also, reason="no")))
        for entry in batch.entries:
            record, gap = entry.record, entry.gap
            first, last = (
                (gap.first, gap.last) if entry.HasField("gap") else (record.sequence, record.sequence)
            )
            if first in self.rejects:
                answers.append(v1.IngestResponse(reject=v1.Reject(sequence=first, reason="no")))
            else:
                self.kept.update((number, entry) for number in range(first, last + 1))
                ranges.append(v1.SequenceRange(first=first, last=last))
        if self.forgets:
            told = [v1.SequenceRange(first=first, last=last) for first, last in self.forgets]
            answers.append(v1.IngestResponse(forget=v1.Forget(ranges=told)))
        return [v1.IngestResponse(ack=v1.Ack(ranges=ranges)), *answers]

    def sequences(self) -> list[int]:
        """The sequences of all records that arrived."""
        return [entry.record.sequence for entry in self.entries if entry.HasField("record")]

    async def start(self) -> None:
        self._server = grpc.aio.server()
        v1.add_IngestServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None


def set_aside(spool: Spool) -> None:
    """As after the file was found unsound, before the next write."""
    spool._file._failed, spool._file._unsound = True, "a test says so"
    spool.note({})


class Rig:
    """A spool, a storage, and forwarders between them."""

    def __init__(self, spool: Spool, storage: FakeStorage) -> None:
        self.spool = spool
        self.in_flight = InFlight()
        self.storage = storage
        self.forwarder: Forwarder
        self._tasks: list[asyncio.Task[None]] = []

    def append(self, count: int, size: int = 100) -> None:
        """As the pipeline does it."""
        first = self.spool.account().next_sequence
        for number in range(first, first + count):
            self.spool.append([(number.to_bytes(16, "big"), b"record %d" % number + b"." * size)])

    def forward(self, **timing: Any) -> Forwarder:
        """Start a forwarder; it looks into the spool only when it is woken."""
        self.forwarder = Forwarder(
            self.spool,
            Way(f"127.0.0.1:{self.storage.port}"),
            v1.Hello(pod="a pod"),
            in_flight=self.in_flight,
            **({"poll_seconds": 1000.0} | timing),
        )
        self._tasks.append(asyncio.create_task(self.forwarder.run()))
        return self.forwarder

    async def await_true(self, claim: Callable[[], Any], what: str) -> None:
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        while not claim():
            assert asyncio.get_running_loop().time() < deadline, what
            await asyncio.sleep(0.005)

    async def await_settled(self) -> None:
        """Until nothing is pending; the account balances."""
        await self.await_true(lambda: self.spool.account().pending == 0, "all settled")
        account = self.spool.account()
        assert account.appended == account.acked + account.dead_lettered + account.evicted_unacked

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        assert all(each is None or isinstance(each, asyncio.CancelledError) for each in results), results
        await self.storage.stop()
        self.spool.close()


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A rig whose storage is up; no forwarder runs yet."""
    made = Rig(Spool.open(tmp_path / "spool", 16 << 20, ring=False), FakeStorage())
    await made.storage.start()
    yield made
    await made.end()


async def test_all_that_is_pending_arrives(rig: Rig) -> None:
    """Each record arrives once, in order, in its envelope, and is acknowledged in the spool."""
    rig.append(600)
    forwarder = rig.forward()
    await rig.await_settled()
    assert rig.storage.sequences() == list(range(1, 601))
    (hello,) = rig.storage.hellos
    assert (hello.pod, hello.spool_id) == ("a pod", rig.spool.spool_id)
    first = rig.spool.get(1)
    assert first is not None
    assert rig.storage.entries[0].record == v1.SpooledRecord(
        sequence=1, previous_hash=first.previous_hash, salt=first.salt, record=first.record
    )
    await rig.await_true(lambda: forwarder.status.entries_acked == 600, "status")
    assert forwarder.status.connected
    assert (forwarder.status.reconnects, forwarder.status.last_trouble) == (0, "")


async def test_news_is_sent_at_once(rig: Rig) -> None:
    """A record appended while everything is settled goes out when the forwarder is woken."""
    forwarder = rig.forward()
    await rig.await_true(lambda: forwarder.status.connected, "connected")
    for _ in range(3):
        rig.append(2)
        forwarder.wake()
        await rig.await_settled()
    assert rig.storage.sequences() == list(range(1, 7))


async def test_storage_that_is_not_up_yet(rig: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    """It is tried until it is there; that there is no way to it is told once, and that it is over."""
    await rig.storage.stop()
    rig.append(5)
    forwarder = rig.forward()
    await rig.await_true(lambda: forwarder.status.reconnects >= 2, "attempts")
    assert not forwarder.status.connected
    assert "UNAVAILABLE" in forwarder.status.last_trouble
    await rig.storage.start()
    await rig.await_settled()
    said: list[str] = []

    def is_over() -> bool:  # it is told once what was settled is counted
        said.extend(capfd.readouterr().err.splitlines())
        return any("storage reached again" in line for line in said)

    await rig.await_true(is_over, "that it is over")
    told = [json.loads(line) for line in said]
    assert [each["event"] for each in told] == ["no way to storage", "storage reached again"]
    assert {each["address"] for each in told} == {f"127.0.0.1:{rig.storage.port}"}


@pytest.mark.parametrize(
    "status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN]
)
async def test_stream_that_breaks(rig: Rig, status: grpc.StatusCode) -> None:
    """What was under way and not acknowledged is sent again, whatever the stream's end is called."""
    rig.append(2000)
    rig.storage.breaks_at, rig.storage.breaks_with = 3, status
    forwarder = rig.forward()
    await rig.await_settled()
    assert set(rig.storage.kept) == set(range(1, 2001))
    assert len(rig.storage.sequences()) > 2000
    assert forwarder.status.reconnects == 1


async def test_storage_without_room(rig: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    """A sidecar that is refused for now, or told to make way, comes back, and loses nothing."""
    rig.append(600)
    rig.storage.refuses = 3
    rig.storage.breaks_at, rig.storage.breaks_with = 2, grpc.StatusCode.RESOURCE_EXHAUSTED
    forwarder = rig.forward()
    await rig.await_settled()
    assert set(rig.storage.kept) == set(range(1, 601))
    assert forwarder.status.reconnects == 4
    assert "RESOURCE_EXHAUSTED" in capfd.readouterr().err
    # The latter where a batch is written just when the stream ends: gRPC then tells no more.
    assert forwarder.status.last_trouble.rpartition(" ")[2] in ("RESOURCE_EXHAUSTED", "INTERNAL")


async def test_storage_that_hangs(rig: Rig) -> None:
    """Without an acknowledgement in time the connection is given up, and all is sent again."""
    rig.append(10)
    rig.storage.acks = False
    forwarder = rig.forward(ack_timeout_seconds=0.2)
    await rig.await_true(lambda: forwarder.status.reconnects, "given up")
    assert "no acknowledgement" in forwarder.status.last_trouble
    assert rig.spool.account().pending == 10
    rig.storage.acks = True
    await rig.await_settled()


async def test_storage_that_does_not_welcome(rig: Rig) -> None:
    """Nothing is sent to a storage that does not answer the hello; it is tried again."""
    rig.append(1)
    rig.storage.welcomes = False
    forwarder = rig.forward(welcome_timeout_seconds=0.2)
    await rig.await_true(lambda: forwarder.status.reconnects, "given up")
    assert "no welcome in time" in forwarder.status.last_trouble
    assert rig.storage.batches == 0
    rig.storage.welcomes = True
    await rig.await_settled()


async def test_unacknowledged_is_bounded(rig: Rig) -> None:
    """No more than a window of batches is under way."""
    rig.append(3000)
    rig.storage.acks = False
    rig.forward()
    await rig.await_true(lambda: rig.storage.batches == MAX_BATCHES, "a full window")
    for _ in range(20):
        rig.forwarder.wake()
        await asyncio.sleep(0.005)
    assert rig.storage.batches == MAX_BATCHES
    assert rig.spool.account().acked == 0


async def test_refused_records(rig: Rig) -> None:
    """What storage refuses is set aside with its reason, and the rest goes on."""
    rig.append(10)
    rig.storage.rejects = {4, 7}
    forwarder = rig.forward()
    await rig.await_settled()
    assert (rig.spool.account().acked, rig.spool.account().dead_lettered) == (8, 2)
    await rig.await_true(lambda: forwarder.status.rejected == 2, "status")


async def test_batches_that_are_refused_as_a_whole(rig: Rig) -> None:
    """A storage that does not say which record it can't take gets all others, and those are set aside."""
    rig.append(600)
    rig.storage.poison = {7, 8, 300, 600}
    forwarder = rig.forward()
    await rig.await_settled()
    assert set(rig.storage.kept) == set(range(1, 601)) - rig.storage.poison
    letters = {each.sequence: each.reason for each in rig.spool.dead_letters(0, 10)}
    assert letters == dict.fromkeys(rig.storage.poison, "INVALID_ARGUMENT: batch.entries: not understood")
    assert forwarder.status.rejected == 4
    before = rig.storage.batches
    rig.append(500)
    forwarder.wake()
    await rig.await_settled()
    assert rig.storage.batches - before < 100, "what was never refused goes in batches"


async def test_storage_that_refuses_the_hello(rig: Rig) -> None:
    """Nothing was sent yet that could be at fault: nothing is set aside."""
    rig.append(1)
    rig.storage.refuses_hello = True
    forwarder = rig.forward()
    await rig.await_true(lambda: forwarder.status.reconnects > 2, "tried again")
    assert rig.spool.account().pending == 1
    rig.storage.refuses_hello = False
    await rig.await_settled()


async def test_gaps_are_sent_in_place(rig: Rig) -> None:
    """Records that had to make room are told as a gap, before what is left."""
    rig.append(30, 1 << 20)
    gone = rig.spool.account().evicted_unacked
    rig.forward()
    await rig.await_settled()
    first, second, *_ = rig.storage.entries
    assert (first.gap.first, first.gap.last, first.gap.reason) == (1, gone, "evicted")
    assert second.record.sequence == gone + 1
    assert second.record.previous_hash == first.gap.last_hash
    assert set(rig.storage.kept) == set(range(1, 31))


async def test_storage_that_knows_some(rig: Rig) -> None:
    """What storage has already is not sent; what it lost since is sent again."""
    rig.append(10)
    rig.spool.ack([(1, 8)])
    rig.storage.received = [(1, 3), (9, 9)]
    rig.forward()
    await rig.await_settled()
    assert rig.storage.sequences() == [4, 5, 6, 7, 8, 10]


async def test_forked_spool(rig: Rig) -> None:
    """Storage that knows more than was appended met a copy: the spool comes again under a new id."""
    rig.append(3)
    spool_id = rig.spool.spool_id
    rig.storage.received = [(1, 7)]
    rig.forward()
    await rig.await_true(lambda: rig.storage.hellos, "a hello")
    await rig.await_true(lambda: rig.spool.spool_id != spool_id, "a new id")
    rig.storage.received = []
    await rig.await_settled()
    assert rig.storage.hellos[0].spool_id == spool_id
    assert rig.storage.hellos[-1].spool_id == rig.spool.spool_id
    assert rig.storage.sequences() == [1, 2, 3]


async def test_spool_that_is_set_aside_under_way(rig: Rig) -> None:
    """What comes after a file was set aside goes by another stream, under the new id: by the old one storage
    would take the new records for what it has. Acknowledgements of the old ones settle none of the new ones.
    """
    rig.storage.takes_heartbeats = True
    old_id = rig.spool.spool_id
    rig.append(3)
    rig.forward()
    await rig.await_settled()
    rig.storage.acks = False
    rig.append(2)
    rig.forwarder.wake()
    await rig.await_true(lambda: len(rig.storage.entries) == 5, "all are sent")
    set_aside(rig.spool)
    rig.append(5)
    rig.storage.acks = True
    rig.forwarder.wake()
    await rig.await_true(lambda: rig.spool.account().pending == 0, "all settled")
    new_id = rig.spool.spool_id
    assert [hello.spool_id for hello in rig.storage.hellos] == [old_id, new_id]
    assert rig.storage.sequences() == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]
    account = rig.spool.account()
    assert (account.appended, account.acked, account.corrupt) == (10, 8, 2)


async def test_proxy_of_the_environment(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that the environment names is not asked about this machine."""
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    rig.append(1)
    rig.forward()
    await rig.await_settled()


async def test_drain(rig: Rig) -> None:
    """A drain sends what is pending, waits for its acknowledgement, and ends the forwarder."""
    rig.append(500)
    forwarder = rig.forward()
    assert await forwarder.drain(WAIT_SECONDS)
    assert rig.spool.account().acked == 500


async def test_drain_without_storage(rig: Rig) -> None:
    """A drain that storage does not let succeed ends in time, and nothing is lost."""
    await rig.storage.stop()
    rig.append(5)
    forwarder = rig.forward()
    assert not await forwarder.drain(0.3)
    assert rig.spool.account().pending == 5


async def test_wake_at_any_time(rig: Rig) -> None:
    """Waking it before it runs, after it ended, and from another thread is harmless."""
    forwarder = rig.forward()
    forwarder.wake()
    await rig.await_true(lambda: forwarder.status.connected, "connected")
    rig.append(1)
    await asyncio.to_thread(forwarder.wake)
    await rig.await_settled()
    assert await forwarder.drain(WAIT_SECONDS)
    forwarder.wake()


class EndedCall:
    """A call that ended while the forwarder looked into the spool, before its reader could be told."""

    def __init__(self) -> None:
        self._welcome = v1.IngestResponse(welcome=v1.Welcome())
        self._told = asyncio.Event()

    async def write(self, request: v1.IngestRequest) -> None:
        if request.HasField("batch"):
            raise asyncio.InvalidStateError("RPC already finished.")

    async def read(self) -> v1.IngestResponse:
        if self._told.is_set():
            await asyncio.sleep(WAIT_SECONDS)
        self._told.set()
        return self._welcome

    async def code(self) -> grpc.StatusCode:
        """Why."""
        return grpc.StatusCode.INVALID_ARGUMENT

    async def details(self) -> str:
        """In words."""
        return "not understood"

    def cancel(self) -> None:
        """It has ended."""


async def test_stream_that_ended_unheard(rig: Rig) -> None:
    """Writing to a stream that has just ended is an end like any other, by the status that it has."""
    rig.append(1)
    signals = Signals(news=asyncio.Event(), draining=asyncio.Event())
    timing = Timing(WAIT_SECONDS, WAIT_SECONDS, WAIT_SECONDS)
    call: Any = EndedCall()
    with pytest.raises(Trouble, match="storage: INVALID_ARGUMENT"):
        await Connection(
            rig.spool,
            call,
            Tally(),
            timing,
            signals,
            caution=Caution(),
            in_flight=rig.in_flight,
            calls=dict,
            on_progress=lambda: None,
        ).run(v1.Hello())


async def test_absurd_refusal(rig: Rig) -> None:
    """A refusal of a sequence that was never sent does no harm."""
    rig.append(3)
    rig.storage.rejects_also = (1 << 64) - 1
    forwarder = rig.forward()
    await rig.await_settled()
    await rig.await_true(lambda: forwarder.status.rejected, "refusal arrived")
    assert rig.spool.account().acked == 3
    assert forwarder.status.connected


def in_flight(number: int) -> CallInFlight:
    """A call as the recorder's table has it."""
    record = v1.Record(call_id=f"call {number}", path="/v1/slow")
    return CallInFlight(number.to_bytes(16, "big"), 0, record.SerializeToString())


async def test_calls_in_flight_are_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Storage hears of each call in full once, then of its progress, then that it has ended."""
    monkeypatch.setattr(connection, "TELL_SECONDS", 0.01)
    rig.in_flight.add(0, 1, in_flight(1))
    rig.forward()
    told = rig.storage.in_flight
    await rig.await_true(lambda: told, "told in full")
    assert [(each.call_id, each.state) for each in told[0].calls] == [("call 1", v1.INFERENCING)]
    rig.in_flight.progress(0, Round(1, [Progress(1, 10, 20, 200, 5000)]))
    await rig.await_true(lambda: len(told) > 1, "told how far it has come")
    (progress,) = told[1].progress
    assert (progress.call_id, progress.request_bytes) == ((1).to_bytes(16, "big"), 10)
    assert (progress.response_bytes, progress.http_status) == (20, 200)
    assert progress.first_response_byte_us == 5
    rig.in_flight.end([(0, 1)])
    await rig.await_true(lambda: len(told) > 2, "told that it has ended")
    assert list(told[2].ended) == [(1).to_bytes(16, "big")]


async def test_a_new_stream_is_told_everything(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Storage that comes back knows nothing: what is in flight is told in full again, and only that."""
    monkeypatch.setattr(connection, "TELL_SECONDS", 0.01)
    for number in (1, 2):
        rig.in_flight.add(0, number, in_flight(number))
    rig.forward()
    await rig.await_true(lambda: rig.storage.in_flight, "told")
    await rig.storage.stop()
    rig.storage.in_flight.clear()
    rig.in_flight.end([(0, 1)])
    await rig.storage.start()
    await rig.await_true(lambda: rig.storage.in_flight, "told again")
    assert [each.call_id for each in rig.storage.in_flight[0].calls] == ["call 2"]


async def test_storage_that_does_not_take_calls_in_flight(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older storage is sent records only."""
    monkeypatch.setattr(connection, "TELL_SECONDS", 0.001)
    rig.storage.takes_in_flight = False
    rig.in_flight.add(0, 1, in_flight(1))
    rig.append(5)
    forwarder = rig.forward()
    await rig.await_settled()
    assert await forwarder.drain(WAIT_SECONDS)
    assert rig.storage.in_flight == []


async def test_last_word_at_the_drain(rig: Rig) -> None:
    """Before the stream ends, storage hears what has ended without a record."""
    rig.in_flight.add(0, 1, in_flight(1))
    forwarder = rig.forward()
    await rig.await_true(lambda: rig.storage.in_flight, "told")
    rig.in_flight.end([(0, 1)])
    assert await forwarder.drain(WAIT_SECONDS)
    assert list(rig.storage.in_flight[-1].ended) == [(1).to_bytes(16, "big")]
    assert forwarder.status.reconnects == 0


async def test_heartbeats(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Storage that takes them is told how the spool stands, and at the end that it leaves."""
    monkeypatch.setattr(connection, "BEAT_SECONDS", 0.02)
    rig.storage.takes_heartbeats = True
    rig.append(3)
    forwarder = rig.forward(calls=lambda: {"seen": 3, "in_transit": -1})
    await rig.await_settled()
    await rig.await_true(lambda: len(rig.storage.heartbeats) >= 3, "beats")
    assert await forwarder.drain(WAIT_SECONDS)
    *_, last = rig.storage.heartbeats
    entry = rig.spool.get(3)
    assert entry is not None
    assert (last.is_leaving, last.pending, last.next_sequence) == (True, 0, 4)
    assert (last.last_hash, last.quarantined, dict(last.account)) == (entry.hash, 0, {"seen": 3})
    assert not rig.storage.heartbeats[0].is_leaving
    assert abs(last.time.ToNanoseconds() - time.time_ns()) < 60_000_000_000


async def test_a_drain_that_can_not_end_is_told_of(rig: Rig) -> None:
    """Storage hears that the sidecar ends while records are still to be sent."""
    rig.storage.takes_heartbeats = True
    rig.storage.acks = False
    rig.append(3)
    forwarder = rig.forward()
    await rig.await_true(lambda: rig.storage.batches, "sent")
    assert not await forwarder.drain(0.1)
    await rig.await_true(lambda: any(beat.is_leaving for beat in rig.storage.heartbeats), "leaving")
    assert rig.storage.heartbeats[-1].pending == 3


async def test_no_heartbeat_for_a_storage_that_does_not_take_it(rig: Rig) -> None:
    """One of an earlier version hears batches only."""
    rig.append(3)
    forwarder = rig.forward()
    await rig.await_settled()
    assert await forwarder.drain(WAIT_SECONDS)
    assert rig.storage.heartbeats == []


async def test_resent_dead_letters_fill_their_holes(rig: Rig) -> None:
    """What storage refused and is asked to take again goes out alone, and is acknowledged like any other."""
    rig.storage.rejects = {2, 4}
    rig.append(5)
    rig.forward()
    await rig.await_true(lambda: rig.spool.account().dead_lettered == 2, "refused")
    rig.storage.rejects = {4}
    assert rig.spool.resend([2, 4]) == 2
    rig.forwarder.wake()
    await rig.await_true(lambda: rig.spool.account().acked == 4, "taken")
    await rig.await_true(lambda: rig.spool.account().dead_lettered == 1, "refused again")
    assert rig.storage.sequences() == [1, 2, 3, 4, 5, 2, 4]
    assert sorted(rig.storage.kept) == [1, 2, 3, 5]


async def test_what_storage_deleted_is_forgotten(rig: Rig) -> None:
    """Records that storage says were deleted leave the spool; those that it has not acknowledged stay."""
    rig.append(5)
    rig.storage.forgets = [(2, 3), (5, 9)]
    rig.storage.rejects = {5}
    rig.forward()
    await rig.await_true(lambda: len(rig.spool.oldest_first(0, 10)) == 3, "forgotten")
    assert [each.sequence for each in rig.spool.oldest_first(0, 10)] == [1, 4, 5]
    account = rig.spool.account()
    assert (account.acked, account.dead_lettered) == (4, 1)
