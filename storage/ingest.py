"""Ingest: IngestService: what sidecars send, checked, made durable, acknowledged.

It promises: an acknowledgement follows the engine's commit; an entry that can never be taken is rejected
alone, and the stream goes on; a sender that breaks the protocol hears which field is wrong; what is in flight
is told after the records that were sent before; batches of all streams that are under way take no more memory
than there is room for.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from infertap import v1
from infertap.query import InvalidArgumentError, abort_invalid
from storage.archive import Archive, ArchiveError, Entry, GapEntry, RecordEntry
from storage.audit import Spools
from storage.forgetting import Forgetting, forget_messages
from storage.identity import caller_of
from storage.in_flight import InFlight
from storage.live import Live
from storage.numbers import Numbers
from storage.recalling import Recalling
from storage.room import Room
from storage.under_way import BYTES_OF_ONE, UnderWay
from storage.writer import Writer

SPOOL_ID_BYTES: Final = 16
RECORD_BYTES: Final = 3 << 20
_HASH_BYTES: Final = 32
_SALT_BYTES: Final = 16
_MOST_ENTRIES: Final = 10_000
_MOST_SEQUENCE: Final = (1 << 63) - 1
_REASON_MOST: Final = 64
# What a spool is told that storage has: beyond, the earliest are left out, and come again as duplicates.
MOST_RANGES: Final = 50_000
# A record may start this long before the epoch of its own clock, or after: beyond, it is no time.
_FIRST_NS: Final = 0
_LAST_NS: Final = (1 << 63) - 1
_NANOS: Final = 1_000_000_000

# A batch that is being written, what is told of calls in flight or of the spool, or what the spool is told.
_Sent: TypeAlias = asyncio.Task[list[v1.IngestResponse]] | v1.InFlight | v1.Heartbeat | v1.Forget
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class RejectedError(ValueError):
    """One entry will never be taken."""

    def __init__(self, sequence: int, why: str) -> None:
        super().__init__(why)
        self.sequence = sequence
        self.why = why


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
        spools: Spools | None = None,
        forgetting: Forgetting | None = None,
        recalling: Recalling | None = None,
    ) -> None:
        self._archive = archive
        self._room = room
        self._writer = writer
        self._numbers = numbers
        self._in_flight = in_flight
        self._live = live
        # Who is told of spools; None where heartbeats are not taken.
        self._spools = spools
        self._forgetting = forgetting or Forgetting()
        self._recalling = recalling or Recalling()

    async def Ingest(  # noqa: N802
        self, requests: AsyncIterator[v1.IngestRequest], context: Context
    ) -> AsyncIterator[v1.IngestResponse]:
        """See the contract."""
        with self._numbers.spools.track_inprogress(), self._recalling.listening(context):
            try:
                hello = await _read_hello(requests)
                spool_id, tenant = hello.spool_id, caller_of(context).writes_as
                if self._spools is not None and not self._spools.is_of(spool_id, tenant):
                    # Else its sequences could be taken by a stranger, and its own records pass for repeated.
                    await context.abort(grpc.StatusCode.PERMISSION_DENIED, "the spool of another tenant")
                received = await asyncio.to_thread(self._archive.received, spool_id)
                welcome = v1.Welcome(
                    received=map(_range, received[-MOST_RANGES:]),
                    takes_in_flight=True,
                    takes_heartbeats=self._spools is not None,
                )
                yield v1.IngestResponse(welcome=welcome)
                with self._stream(hello, tenant) as stream:
                    async for response in self._answers(spool_id, stream, requests):
                        yield response
            except InvalidArgumentError as error:
                await abort_invalid(context, error)
            except ArchiveError as error:
                await context.abort(grpc.StatusCode.UNAVAILABLE, f"the archive takes nothing now: {error}")

    @contextlib.contextmanager
    def _stream(self, hello: v1.Hello, tenant: str) -> Iterator[int]:
        """What is told of calls in flight counts for as long, and a while after; its spool is connected."""
        spool_id = hello.spool_id
        if self._spools is not None:
            self._spools.connected(hello, tenant, time.time_ns())
        stream = self._in_flight.begin(spool_id, time.monotonic_ns(), tenant)
        try:
            yield stream
        finally:
            self._in_flight.end(spool_id, stream, time.monotonic_ns())
            if self._spools is not None:
                self._spools.disconnected(spool_id, time.time_ns())

    async def _answers(
        self, spool_id: bytes, stream: int, requests: AsyncIterator[v1.IngestRequest]
    ) -> AsyncIterator[v1.IngestResponse]:
        """Answers in the order of the batches, several of which are being written at a time."""
        under_way: UnderWay[_Sent] = UnderWay()
        with self._forgetting.listening(spool_id, under_way):
            for each in forget_messages(await asyncio.to_thread(self._archive.forgotten, spool_id)):
                yield v1.IngestResponse(forget=each)
            async for response in self._answers_to(spool_id, stream, requests, under_way):
                yield response

    async def _answers_to(
        self,
        spool_id: bytes,
        stream: int,
        requests: AsyncIterator[v1.IngestRequest],
        under_way: UnderWay[_Sent],
    ) -> AsyncIterator[v1.IngestResponse]:
        reading = asyncio.create_task(self._read(spool_id, requests, under_way))
        try:
            while (each := await under_way.get()) is not None:
                if isinstance(each, v1.InFlight):
                    news = self._in_flight.take(spool_id, stream, each, now := time.monotonic_ns())
                    self._live.tell_in_flight(news, now)
                    continue
                if isinstance(each, v1.Heartbeat):
                    if self._spools is not None:
                        self._spools.heard(spool_id, each, time.time_ns())
                    continue
                if isinstance(each, v1.Forget):
                    yield v1.IngestResponse(forget=each)
                    continue
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

    async def _read(
        self,
        spool_id: bytes,
        requests: AsyncIterator[v1.IngestRequest],
        under_way: UnderWay[_Sent],
    ) -> None:
        try:
            async for request in requests:
                kind = request.WhichOneof("message")
                if kind in ("in_flight", "heartbeat"):
                    told = request.in_flight if kind == "in_flight" else request.heartbeat
                    await under_way.put(told, await under_way.make_room(told.ByteSize() // BYTES_OF_ONE))
                elif kind == "batch":
                    taken = await under_way.make_room(len(request.batch.entries))
                    await under_way.put(await self._begin(spool_id, request.batch), taken)
                else:
                    raise InvalidArgumentError("batch", "expected after hello")
        finally:
            await under_way.put(None)

    async def _begin(self, spool_id: bytes, batch: v1.Batch) -> "asyncio.Task[list[v1.IngestResponse]]":
        """Once there is room for it, and until it is written, the batch is under way."""
        taken = await self._room.take(batch.ByteSize())
        task = asyncio.create_task(self._take(spool_id, batch))
        task.add_done_callback(lambda _: self._room.give_back(taken))
        return task

    async def _take(self, spool_id: bytes, batch: v1.Batch) -> list[v1.IngestResponse]:
        """Write one batch; its acknowledgement, and a rejection for each entry that can't be taken."""
        if len(batch.entries) > _MOST_ENTRIES:
            raise InvalidArgumentError("batch.entries", f"more than {_MOST_ENTRIES}")
        # Parsing and hashing a large batch takes long enough to hold up every other stream.
        tenant = caller_of(None).writes_as
        entries, rejected = await asyncio.to_thread(_read_entries, spool_id, batch, tenant)
        self._numbers.rejected.inc(len(rejected))
        answers = [v1.IngestResponse(reject=each) for each in rejected]
        if entries:
            await self._writer.write(entries)
            ranges = [v1.SequenceRange(first=entry.first, last=entry.last) for entry in entries]
            answers.append(v1.IngestResponse(ack=v1.Ack(ranges=_joined(ranges))))
        return answers


async def _read_hello(requests: AsyncIterator[v1.IngestRequest]) -> v1.Hello:
    request = await anext(requests, None)
    if request is None or request.WhichOneof("message") != "hello":
        raise InvalidArgumentError("hello", "expected first")
    if len(request.hello.spool_id) != SPOOL_ID_BYTES:
        raise InvalidArgumentError("hello.spool_id", f"expected {SPOOL_ID_BYTES} bytes")
    return request.hello


def _read_entries(spool_id: bytes, batch: v1.Batch, tenant: str) -> tuple[list[Entry], list[v1.Reject]]:
    """The batch's entries, checked, and a rejection for each that will never be taken."""
    entries: list[Entry] = []
    rejected: list[v1.Reject] = []
    for number, each in enumerate(batch.entries):
        try:
            entries.append(_read_entry(spool_id, each, f"batch.entries[{number}]", tenant))
        except RejectedError as error:
            rejected.append(v1.Reject(sequence=error.sequence, reason=error.why))
    return entries, rejected


def _read_entry(spool_id: bytes, entry: v1.Entry, field: str, tenant: str) -> Entry:
    """The entry, checked. Raises RejectedError, or InvalidArgumentError where it is no entry at all."""
    kind = entry.WhichOneof("entry")
    if kind == "record":
        return _read_record(spool_id, entry.record, f"{field}.record", tenant)
    if kind == "gap":
        return _read_gap(spool_id, entry.gap, f"{field}.gap", tenant)
    raise InvalidArgumentError(field, "neither record nor gap")


def _read_record(spool_id: bytes, sent: v1.SpooledRecord, field: str, tenant: str) -> RecordEntry:
    if not 0 < sent.sequence <= _MOST_SEQUENCE:
        raise InvalidArgumentError(f"{field}.sequence", "expected 1 or more")
    if len(sent.previous_hash) != _HASH_BYTES or len(sent.salt) != _SALT_BYTES:
        raise RejectedError(sent.sequence, "hash or salt of another length")
    if len(sent.record) > RECORD_BYTES:
        raise RejectedError(sent.sequence, f"record of more than {RECORD_BYTES} bytes")
    try:
        parsed = v1.Record.FromString(sent.record)
    except DecodeError:
        raise RejectedError(sent.sequence, "not a record") from None
    if not _is_call_id(parsed.call_id) or not _is_time(parsed.timing.start):
        raise RejectedError(sent.sequence, "record without a call id or a start")
    sealed = sent.previous_hash + sent.sequence.to_bytes(8, "big") + sent.salt + sent.record
    return RecordEntry(
        spool_id=spool_id,
        sequence=sent.sequence,
        previous_hash=sent.previous_hash,
        hash=sha256(sealed).digest(),
        salt=sent.salt,
        record=sent.record,
        parsed=parsed,
        tenant=tenant,
    )


def _is_call_id(call_id: str) -> bool:
    """Whether it is a UUID as RFC 9562, section 4 spells it: any other spelling would never be found."""
    try:
        return str(uuid.UUID(call_id)) == call_id
    except ValueError:
        return False


def _is_time(start: Timestamp) -> bool:
    return 0 <= start.nanos < _NANOS and _FIRST_NS <= start.seconds * _NANOS + start.nanos <= _LAST_NS


def _read_gap(spool_id: bytes, sent: v1.Gap, field: str, tenant: str) -> GapEntry:
    if not 0 < sent.first <= sent.last <= _MOST_SEQUENCE:
        raise InvalidArgumentError(f"{field}.last", "expected first or more, from 1")
    if len(sent.last_hash) not in (0, _HASH_BYTES):
        raise InvalidArgumentError(f"{field}.last_hash", f"expected {_HASH_BYTES} bytes")
    return GapEntry(spool_id, sent.first, sent.last, sent.last_hash, sent.reason[:_REASON_MOST], tenant)


def _range(received: tuple[int, int]) -> v1.SequenceRange:
    return v1.SequenceRange(first=received[0], last=received[1])


def _joined(ranges: list[v1.SequenceRange]) -> list[v1.SequenceRange]:
    """The same with neighbours joined, as a batch's entries mostly are."""
    joined = ranges[:1]
    for each in ranges[1:]:
        if each.first == joined[-1].last + 1:
            joined[-1] = v1.SequenceRange(first=joined[-1].first, last=each.last)
        else:
            joined.append(each)
    return joined
