"""Service: IngestService: what sidecars send, checked, made durable, acknowledged.

It promises: an acknowledgement follows the engine's commit; an entry that can never be taken is rejected
alone, and the stream goes on; a sender that breaks the protocol hears which field is wrong; what is in flight
is told after the records that were sent before; batches of all streams that are under way take no more memory
than there is room for; streams are bounded, and each says within a time what it wants, brings whole messages,
and takes its answers.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

from infertap import v1
from infertap.identity import end_call
from infertap.query import InvalidArgumentError, abort_exhausted, abort_invalid
from storage.archive import Archive, ArchiveError, Entry, Range
from storage.audit import ForeignSpoolError, Spools, TooManySpoolsError
from storage.identity import caller_of
from storage.ingest.entry_checks import read_entries
from storage.ingest.forgetting import Forgetting, forget_messages
from storage.ingest.recalling import Recalling
from storage.ingest.room import Room
from storage.ingest.streams import Ending, Stream, Streams, TooManyStreamsError
from storage.ingest.stretches import MOST_STRETCHES, Stretches
from storage.ingest.under_way import BYTES_OF_ONE, Pace, UnderWay
from storage.ingest.writer import Writer
from storage.live import InFlight, Live
from storage.numbers import Numbers

SPOOL_ID_BYTES: Final = 16
# From a call to its hello.
HELLO_SECONDS: Final = 10.0
# In all, where nothing else is said.
MOST_STREAMS: Final = 10_000
# What an entry costs however small it is, by what as many bytes cost.
_ENTRY_BYTES: Final = 2048
# Calls in one message of those in flight: those of a sidecar's whole table, and as many that have ended. New
# ones take longest.
_MOST_TOLD: Final = 30_000
_MOST_NEW: Final = 2_500
# So many need no turn; of more, each keeps the next message waiting for so long, some times what it takes.
_FEW_TOLD: Final = 500
_CALL_SECONDS: Final = 30e-6
_TURN_SECONDS: Final = 2.0
_ENDED: Final = {
    Ending.DISPLACED: (grpc.StatusCode.RESOURCE_EXHAUSTED, "others have fewer streams; try again later"),
    Ending.SILENT: (grpc.StatusCode.UNAVAILABLE, "no whole message for too long"),
    Ending.UNREAD: (grpc.StatusCode.UNAVAILABLE, "answers are not taken"),
    Ending.MEMORY: (grpc.StatusCode.UNAVAILABLE, "memory is short; come back"),
}
# What a spool is told that storage has: beyond, the earliest are left out, and come again as duplicates.
MOST_RANGES: Final = 50_000

# A batch that is being written, what is told of calls in flight or of the spool, or what the spool is told.
_Sent: TypeAlias = asyncio.Task[list[v1.IngestResponse]] | v1.InFlight | v1.Heartbeat | v1.Forget
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class _Connected:
    """A spool that is connected."""

    spool_id: bytes
    # Its number in the table of calls in flight.
    number: int
    stream: Stream
    stretches: Stretches
    pace: Pace


class Ingest(v1.IngestServiceServicer):
    """Takes what the spools send."""

    def __init__(
        self,
        archive: Archive,
        writer: Writer,
        numbers: Numbers,
        in_flight: InFlight,
        live: Live,
        *,
        room: Room,
        streams: Streams | None = None,
        spools: Spools | None = None,
        forgetting: Forgetting | None = None,
        recalling: Recalling | None = None,
    ) -> None:
        self._archive = archive
        self._room = room
        self._streams = Streams(MOST_STREAMS) if streams is None else streams
        self._endings: set[asyncio.Task[None]] = set()
        # Whose message of calls in flight is read next, where that takes long.
        self._turns = Room(1)
        self._writer = writer
        self._numbers = numbers
        self._in_flight = in_flight
        self._live = live
        # Who is told of spools; None where heartbeats are not taken.
        self._spools = spools
        self._keeping = asyncio.Lock()
        self._forgetting = forgetting or Forgetting()
        self._recalling = recalling or Recalling()

    async def Ingest(  # noqa: N802
        self, requests: AsyncIterator[v1.IngestRequest], context: Context
    ) -> AsyncIterator[v1.IngestResponse]:
        """See the contract."""
        stream = await self._enter(context)
        try:
            with self._numbers.spools.track_inprogress(), self._recalling.listening(context):
                async with contextlib.aclosing(self._serve(requests, stream, context)) as responses:
                    async for response in responses:
                        stream.answering_since = time.monotonic()
                        yield response
                        stream.answering_since = None
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        except ForeignSpoolError:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "the spool of another tenant")
        except TooManySpoolsError as error:
            self._numbers.refused_spools.inc()
            await abort_exhausted(context, "spools", str(error))
        except ArchiveError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"the archive takes nothing now: {error}")
        finally:
            if not stream.is_ending:
                self._streams.leave(stream)

    async def _enter(self, context: Context) -> Stream:
        """Let the stream in, or end it."""
        task = asyncio.current_task()

        def end(why: Ending) -> None:
            ending = asyncio.create_task(self._end(stream, context, task, why))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)

        address = context.peer().rpartition(":")[0]
        try:
            stream = self._streams.enter(caller_of(context).name, address, end)
        except TooManyStreamsError:
            self._numbers.ended_streams.labels(Ending.FULL).inc()
            await abort_exhausted(context, "streams", "there are as many as may be; try again later")
        return stream

    async def _end(
        self, stream: Stream, context: Context, task: "asyncio.Task[Any] | None", why: Ending
    ) -> None:
        """The stream counts until its sidecar has heard of it, or is gone."""
        self._numbers.ended_streams.labels(why).inc()
        await end_call(context, task, *_ENDED[why])
        self._streams.leave(stream)

    async def _serve(
        self, requests: AsyncIterator[v1.IngestRequest], stream: Stream, context: Context
    ) -> AsyncGenerator[v1.IngestResponse, None]:
        """What is answered, from hello to the end."""
        hello = await _read_hello(requests, context)
        caller = caller_of(context)
        if self._spools is not None:
            # Else its sequences could be taken by a stranger, and its own records pass for repeated.
            await asyncio.to_thread(self._spools.recall, hello.spool_id)
            self._spools.connected(hello, caller.writes_as, time.time_ns(), caller.name)
        number = self._in_flight.begin(hello.spool_id, time.monotonic_ns(), caller.writes_as)
        try:
            await self._keep(hello.spool_id)
            received = await asyncio.to_thread(self._archive.received, hello.spool_id)
            welcome = v1.Welcome(
                received=map(_range, received[-MOST_RANGES:]),
                takes_in_flight=True,
                takes_heartbeats=self._spools is not None,
            )
            yield v1.IngestResponse(welcome=welcome)
            connected = _Connected(hello.spool_id, number, stream, Stretches(received), Pace())
            async with contextlib.aclosing(self._answers(connected, requests)) as answers:
                async for response in answers:
                    yield response
        finally:
            self._in_flight.end(hello.spool_id, number, time.monotonic_ns())
            if self._spools is not None:
                self._spools.disconnected(hello.spool_id, time.time_ns())

    async def _keep(self, spool_id: bytes) -> None:
        """On return it is durable whose a new spool is: else another's could be it, once storage was killed.
        One after the other, for each keeps those of all who wait.
        """
        while self._spools is not None and not self._spools.is_kept(spool_id):
            async with self._keeping:
                if not self._spools.is_kept(spool_id):
                    await asyncio.to_thread(self._spools.flush)

    async def _answers(
        self, connected: _Connected, requests: AsyncIterator[v1.IngestRequest]
    ) -> AsyncGenerator[v1.IngestResponse, None]:
        """Answers in the order of the batches, several of which are being written at a time."""
        under_way: UnderWay[_Sent] = UnderWay()
        spool_id = connected.spool_id
        with self._forgetting.listening(spool_id, under_way):
            for each in forget_messages(await asyncio.to_thread(self._archive.forgotten, spool_id)):
                yield v1.IngestResponse(forget=each)
            async with contextlib.aclosing(self._answers_to(connected, requests, under_way)) as answers:
                async for response in answers:
                    yield response

    async def _answers_to(
        self,
        connected: _Connected,
        requests: AsyncIterator[v1.IngestRequest],
        under_way: UnderWay[_Sent],
    ) -> AsyncGenerator[v1.IngestResponse, None]:
        reading = asyncio.create_task(self._read(connected, requests, under_way))
        try:
            while (each := await under_way.get()) is not None:
                if isinstance(each, v1.InFlight | v1.Heartbeat):
                    self._note(connected, each)
                elif isinstance(each, v1.Forget):
                    yield v1.IngestResponse(forget=each)
                else:
                    for response in await each:
                        yield response
            await reading
        finally:
            reading.cancel()
            for left in under_way.left():
                if isinstance(left, asyncio.Task):
                    left.cancel()
            with contextlib.suppress(BaseException):
                await reading

    def _note(self, connected: _Connected, told: v1.InFlight | v1.Heartbeat) -> None:
        """What needs no answer."""
        if isinstance(told, v1.InFlight):
            now = time.monotonic_ns()
            news = self._in_flight.take(connected.spool_id, connected.number, told, now)
            self._live.tell_in_flight(news, now)
        elif self._spools is not None:
            self._spools.heard(connected.spool_id, told, time.time_ns())

    async def _read(
        self,
        connected: _Connected,
        requests: AsyncIterator[v1.IngestRequest],
        under_way: UnderWay[_Sent],
    ) -> None:
        stream = connected.stream
        # Who is not asked for heartbeats may be silent.
        has_heartbeats = self._spools is not None
        try:
            stream.reading_since = time.monotonic() if has_heartbeats else None
            async for request in requests:
                stream.reading_since = None
                kind = request.WhichOneof("message")
                if kind in ("in_flight", "heartbeat"):
                    told = request.in_flight if kind == "in_flight" else request.heartbeat
                    await asyncio.sleep(connected.pace.wait(time.monotonic()))
                    if await self._has_turn(connected, request.in_flight):
                        await under_way.put(told, await under_way.make_room(told.ByteSize() // BYTES_OF_ONE))
                elif kind == "batch":
                    taken = await under_way.make_room(len(request.batch.entries))
                    await under_way.put(await self._begin(connected, request.batch), taken)
                else:
                    raise InvalidArgumentError("batch", "expected after hello")
                stream.reading_since = time.monotonic() if has_heartbeats else None
        finally:
            stream.reading_since = None
            await under_way.put(None)

    async def _has_turn(self, connected: _Connected, told: v1.InFlight) -> bool:
        """Wait for the turn of a message that takes long to read, which is as often as takes a part of the
        time; where that does not come soon it is passed over, as records wait behind it.
        """
        calls = len(told.calls) + len(told.progress) + len(told.ended)
        if calls > _MOST_TOLD or len(told.calls) > _MOST_NEW:
            raise InvalidArgumentError(
                "in_flight", f"more than {_MOST_NEW} new calls, or {_MOST_TOLD} in all"
            )
        if calls <= _FEW_TOLD:
            return True
        stream = connected.stream
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                taken = await self._turns.take(1, (stream.identity, stream.address))
        except TimeoutError:
            self._in_flight.dropped += calls
            return False
        loop = asyncio.get_running_loop()
        loop.call_later(calls * _CALL_SECONDS, self._turns.give_back, taken)
        return True

    async def _begin(self, connected: _Connected, batch: v1.Batch) -> "asyncio.Task[list[v1.IngestResponse]]":
        """Once there is room for it, and until it is written, the batch is under way."""
        stream = connected.stream
        weight = batch.ByteSize() + len(batch.entries) * _ENTRY_BYTES
        taken = await self._room.take(weight, (stream.identity, stream.address))
        task = asyncio.create_task(self._take(connected, batch))
        task.add_done_callback(lambda _: self._room.give_back(taken))
        return task

    async def _take(self, connected: _Connected, batch: v1.Batch) -> list[v1.IngestResponse]:
        """Write one batch; its acknowledgement, and a rejection for each entry that can't be taken."""
        # Parsing and hashing a large batch takes long enough to hold up every other stream.
        tenant = caller_of(None).writes_as
        entries, rejected = await asyncio.to_thread(read_entries, connected.spool_id, batch, tenant)
        self._numbers.rejected.inc(len(rejected))
        answers = [v1.IngestResponse(reject=each) for each in rejected]
        if entries:
            covered = _joined(entries)
            connected.stretches.add(covered)
            if connected.stretches.are_too_many:
                await self._count_stretches(connected)
            await self._writer.write(entries)
            answers.append(v1.IngestResponse(ack=v1.Ack(ranges=map(_range, covered))))
        return answers

    async def _count_stretches(self, connected: _Connected) -> None:
        received = await asyncio.to_thread(self._archive.received, connected.spool_id)
        if len(received) >= MOST_STRETCHES:
            raise InvalidArgumentError("batch.entries", f"more than {MOST_STRETCHES} holes in the spool")
        connected.stretches.recounted(len(received))


async def _read_hello(requests: AsyncIterator[v1.IngestRequest], context: Context) -> v1.Hello:
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            request = await anext(requests, None)
    except TimeoutError:
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "no hello in time")
        raise AssertionError("abort returns never") from None
    if request is None or request.WhichOneof("message") != "hello":
        raise InvalidArgumentError("hello", "expected first")
    if len(request.hello.spool_id) != SPOOL_ID_BYTES:
        raise InvalidArgumentError("hello.spool_id", f"expected {SPOOL_ID_BYTES} bytes")
    return request.hello


def _range(received: Range) -> v1.SequenceRange:
    return v1.SequenceRange(first=received[0], last=received[1])


def _joined(entries: Sequence[Entry]) -> list[Range]:
    """What the entries cover, in their order, with neighbours joined, as a batch's mostly are."""
    ranges: list[Range] = []
    first, last = entries[0].first, entries[0].first - 1
    for entry in entries:
        if entry.first != last + 1:
            ranges.append((first, last))
            first = entry.first
        last = entry.last
    return [*ranges, (first, last)]
