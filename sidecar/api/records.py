"""Records: RecordService over the spool: by call id, newest first page by page, and live."""

import asyncio
import contextlib
import struct
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeAlias, TypeVar

import grpc
import grpc.aio

from infertap import v1
from infertap.query import (
    InvalidArgumentError,
    PageTokens,
    Query,
    ReadMask,
    abort_invalid,
    is_segment,
    join_segments,
    page_in_flight,
    read_backlog,
    read_call_id,
    read_page_size,
)
from sidecar.in_flight import CallInFlight, InFlight
from sidecar.spool import Spool, Spooled, SpoolError

# A position is the sequence of the last record looked at: what comes later does not move it. Among calls in
# flight, which have none, it is 0 and the call id of the last one shown.
_POSITION: Final = struct.Struct(">Q16s")
_NO_CALL: Final = bytes(16)
# Records that are looked at in one step, between which others have their turn.
_STEP: Final = 200
# A page is also full when the next record would make it weigh more (clients of gRPC take 4 MiB unless told
# otherwise; a record alone is at most 3 MiB), and when it took so long: then it may be short.
_PAGE_BYTES: Final = 7 << 19
_PAGE_SECONDS: Final = 5.0
# What a record costs on a page beside its own bytes.
_ITEM_BYTES: Final = 8
_TAIL_SECONDS: Final = 1.0

R = TypeVar("R")
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class Records(v1.RecordServiceServicer):
    """Serves what the spool holds, and what is in flight."""

    def __init__(self, spool: Spool, in_flight: InFlight) -> None:
        self._spool = spool
        self._in_flight = in_flight
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Records were appended."""
        self._news.set()
        self._news = asyncio.Event()

    async def GetRecord(self, request: v1.GetRecordRequest, context: Context) -> v1.Record:  # noqa: N802
        """See the contract."""
        try:
            key, mask = read_call_id(request.call_id), ReadMask(request.read_mask)
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        # First: a call that ends in between is found as its record.
        in_flight = self._in_flight.find(key, time.monotonic_ns())
        spooled = await self._ask(context, self._spool.find, key)
        if spooled is not None and (row := await self._row(context, spooled)) is not None:
            return mask.apply(row)
        if in_flight is None:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"no record of call {request.call_id} in this sidecar"
            )
        return mask.apply(self._shown(in_flight))

    async def ListRecords(  # noqa: N802
        self, request: v1.ListRecordsRequest, context: Context
    ) -> v1.ListRecordsResponse:
        """See the contract."""
        try:
            query, mask = Query.of(request.filter), ReadMask(request.read_mask)
            size, tokens = read_page_size(request.page_size), PageTokens(query, _POSITION.size)
            position = tokens.unpack(request.page_token)
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        below, below_call = (0, None) if position is None else _POSITION.unpack(position)
        page = v1.ListRecordsResponse()
        after: tuple[int, bytes] | None = None
        if query.wants_in_flight and not below:
            found, after = await self._page_in_flight(query, mask, below_call, size)
            page.records.extend(found)
        if query.wants_records and not page.records:
            found, last = await self._page(query, mask, below or None, size, context)
            page.records.extend(found)
            after = (last, _NO_CALL) if last else None
        if after is not None:
            page.next_page_token = tokens.pack(_POSITION.pack(*after))
        return page

    async def TailRecords(  # noqa: N802
        self, request: v1.TailRecordsRequest, context: Context
    ) -> AsyncIterator[v1.Record]:
        """See the contract."""
        try:
            query, mask = Query.of(request.filter), ReadMask(request.read_mask)
            backlog = read_backlog(request.backlog)
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        spool_id = self._spool.spool_id
        latest = await self._ask(context, self._spool.newest_first, None, 1)
        after = latest[0].sequence if latest else 0
        for sequence in reversed(await self._latest(query, backlog, after + 1, context)):
            earlier = await self._ask(context, self._spool.get, sequence)
            if earlier is not None and (row := await self._row(context, earlier)) is not None:
                yield mask.apply(row)
        turn = -1
        while True:
            news = self._news
            appeared = self._in_flight.appeared(turn)
            for call in appeared:
                # What was lost before the tail began is no news.
                if (turn >= 0 or call.lost is None) and query.matches(record := self._shown(call)):
                    yield mask.apply(record)
            turn = appeared[-1].turn if appeared else max(turn, 0)
            if spool_id != self._spool.spool_id:  # a new spool, whose sequences begin again
                spool_id, after = self._spool.spool_id, 0
            step = await self._ask(context, self._spool.oldest_first, after, _STEP)
            for spooled in step:
                after = spooled.sequence
                row = await self._row(context, spooled)
                if row is not None and not row.is_continued and query.matches(row):
                    yield mask.apply(row)
            if not step:
                await _any_of(news, _TAIL_SECONDS)

    async def _page_in_flight(
        self, query: Query, mask: ReadMask, below: bytes | None, size: int
    ) -> tuple[list[v1.Record], tuple[int, bytes] | None]:
        """Calls in flight that match, and the position after them: records follow the last of them."""
        now = time.monotonic_ns()
        calls = self._in_flight.calls(now)
        page = await asyncio.to_thread(page_in_flight, calls, now, query, below, size)
        found = [mask.apply(self._from_here(record)) for record in page.records]
        if page.after is not None:
            return found, (0, page.after)
        return found, (0, _NO_CALL) if query.wants_records else None

    async def _page(
        self, query: Query, mask: ReadMask, below: int | None, size: int, context: Context
    ) -> tuple[list[v1.Record], int]:
        """At most `size` records that match, and the sequence below which the next page begins; 0 for the
        last.
        """
        found: list[v1.Record] = []
        weight = 0
        until = _page_end(context)
        while step := await self._ask(context, self._spool.newest_first, below, _STEP):
            for spooled in step:
                row = await self._row(context, spooled)
                if row is not None and query.matches(row) and not self._is_shown(query, row):
                    record = mask.apply(row)
                    weight += record.ByteSize() + _ITEM_BYTES
                    if found and weight > _PAGE_BYTES:
                        return found, spooled.sequence + 1
                    found.append(record)
                    if len(found) == size:
                        return found, spooled.sequence
                below = spooled.sequence
            if asyncio.get_running_loop().time() >= until:
                return found, below or 0
        return found, 0

    async def _latest(self, query: Query, count: int, below: int, context: Context) -> list[int]:
        """Sequences of the latest `count` records that match, descending."""
        found: list[int] = []
        until = _page_end(context)
        while len(found) < count and asyncio.get_running_loop().time() < until:
            step = await self._ask(context, self._spool.newest_first, below, _STEP)
            if not step:
                break
            for spooled in step:
                row = await self._row(context, spooled)
                if row is not None and not row.is_continued and query.matches(row):
                    found.append(spooled.sequence)
            below = step[-1].sequence
        return found[:count]

    async def _ask(self, context: Context, read: Callable[..., R], *arguments: object) -> R:
        try:
            return await asyncio.to_thread(read, *arguments)
        except SpoolError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the spool can't be read now")
            raise

    async def _row(self, context: Context, spooled: Spooled) -> v1.Record | None:
        """What stands for a call in lists: its record, or its segments joined where this is the latest of
        them; None where another one stands for it.
        """
        record = self._served(spooled)
        if not is_segment(record):
            return record
        key = uuid.UUID(record.call_id).bytes
        latest = await self._ask(context, self._spool.find, key)
        if latest is not None and latest.sequence != spooled.sequence:
            return None
        return await self._ask(context, self._joined, key)

    def _joined(self, key: bytes) -> v1.Record | None:
        return join_segments(map(self._served, self._spool.find_all(key)))

    def _is_shown(self, query: Query, row: v1.Record) -> bool:
        """Whether a call that goes on is shown among those in flight, as it stands now."""
        if not row.is_continued or not query.wants_in_flight:
            return False
        return self._in_flight.find(uuid.UUID(row.call_id).bytes, time.monotonic_ns()) is not None

    def _shown(self, call: CallInFlight) -> v1.Record:
        return self._from_here(call.shown(time.monotonic_ns()))

    def _from_here(self, record: v1.Record) -> v1.Record:
        record.spool_id = self._spool.spool_id
        return record

    def _served(self, spooled: Spooled) -> v1.Record:
        """The record, with what only its server knows."""
        record = v1.Record.FromString(spooled.record)
        record.sequence = spooled.sequence
        record.spool_id = self._spool.spool_id
        return record


async def _any_of(news: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await news.wait()


def _page_end(context: Context) -> float:
    """When to stop looking: a caller in a hurry gets what was found by half its time."""
    left = context.time_remaining()
    seconds = _PAGE_SECONDS if left is None else min(left / 2, _PAGE_SECONDS)
    return asyncio.get_running_loop().time() + seconds
