"""Records: RecordService over the spool: by call id, page by page, live, all, and in figures."""

import asyncio
import contextlib
import dataclasses
import struct
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

from infertap import v1
from infertap.query import (
    InvalidArgumentError,
    Order,
    PageTokens,
    Query,
    ReadMask,
    StatsQuery,
    Tally,
    TooManyFiguresError,
    abort_exhausted,
    abort_invalid,
    page_in_flight,
    read_backlog,
    read_call_id,
    read_page_size,
)
from sidecar.api.walking import STEP, Walking
from sidecar.in_flight import CallInFlight, InFlight
from sidecar.spool import Spool

# A position is the latest sequence there was when the list began, and that of the last record looked at: what
# comes later moves neither. Among calls in flight, which have none, the second is 0, and the call id of the
# last one shown follows.
_POSITION: Final = struct.Struct(">QQ16s")
_NO_CALL: Final = bytes(16)
# A page is also full when the next record would make it weigh more (clients of gRPC take 4 MiB unless told
# otherwise; a record alone is at most 3 MiB), and when it took so long: then it may be short.
_PAGE_BYTES: Final = 7 << 19
_PAGE_SECONDS: Final = 5.0
_EXPORTED: Final = 1000
# What a record costs on a page beside its own bytes.
_ITEM_BYTES: Final = 8
_TAIL_SECONDS: Final = 1.0
_LAST: Final = (1 << 63) - 1
_ORDER: Final = (
    "a sidecar lists in the order of recording: start_time, or start_time desc; ask storage for others"
)

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class Records(v1.RecordServiceServicer):
    """Serves what the spool holds, and what is in flight."""

    def __init__(self, spool: Spool, in_flight: InFlight) -> None:
        self._spool = spool
        self._walking = Walking(spool)
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
        spooled = await self._walking.ask(context, self._spool.find, key)
        if spooled is not None and (row := await self._walking.row(context, spooled)) is not None:
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
            query, mask = _read_query(request), ReadMask(request.read_mask)
            size = read_page_size(request.page_size)
            tokens = PageTokens(_OfSpool(self._spool, b"list", query), _POSITION.size)
            position = _read_position(tokens, request.page_token)
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        as_of, beyond, below_call = position or (await self._walking.latest(context), 0, None)
        page = v1.ListRecordsResponse()
        after: tuple[int, bytes] | None = None
        if query.wants_in_flight and not beyond:
            found, after = await self._page_in_flight(query, mask, below_call, size)
            page.records.extend(found)
        if query.wants_records and not page.records:
            found, last = await self._page(query, mask, (beyond, as_of, size), context)
            page.records.extend(found)
            after = (last, _NO_CALL) if last else None
        if after is not None:
            page.next_page_token = tokens.pack(_POSITION.pack(as_of, *after))
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
        after = await self._walking.latest(context)
        for sequence in reversed(await self._latest(query, backlog, after, context)):
            earlier = await self._walking.ask(context, self._spool.get, sequence)
            if earlier is not None and (row := await self._walking.row(context, earlier)) is not None:
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
            step = await self._walking.ask(context, self._spool.oldest_first, after, STEP)
            for spooled in step:
                after = spooled.sequence
                row = await self._walking.row(context, spooled)
                if row is not None and not row.is_continued and query.matches(row):
                    yield mask.apply(row)
            if not step:
                await _any_of(news, _TAIL_SECONDS)

    async def ExportRecords(  # noqa: N802
        self, request: v1.ExportRecordsRequest, context: Context
    ) -> AsyncIterator[v1.ExportRecordsResponse]:
        """See the contract; how many there are is not known before they have been looked through."""
        try:
            query, mask = Query.of(request.filter), ReadMask(request.read_mask)
            tokens = PageTokens(_OfSpool(self._spool, b"export", query), _POSITION.size, "resume_token")
            position = _read_position(tokens, request.resume_token)
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        as_of, beyond, _ = position or (await self._walking.latest(context), 0, None)
        ascending = dataclasses.replace(query, order=Order("start_time", is_descending=False))
        is_over = False
        while not is_over:
            found, last = await self._page(ascending, mask, (beyond, as_of, _EXPORTED), context)
            is_over, beyond = not last, last or as_of
            token = tokens.pack(_POSITION.pack(as_of, beyond, _NO_CALL))
            yield v1.ExportRecordsResponse(records=found, resume_token=token)

    async def GetStats(  # noqa: N802
        self, request: v1.GetStatsRequest, context: Context
    ) -> v1.GetStatsResponse:
        """See the contract; RESOURCE_EXHAUSTED where the spool holds more than can be counted in time."""
        try:
            asked = StatsQuery.of(request)
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        tally, until = Tally(asked), _page_end(context)
        as_of = await self._walking.latest(context)
        earliest: v1.Record | None = None
        async for step in self._walking.back(context, asked.query, as_of + 1, as_of):
            rows = [looked.row for looked in step if looked.row is not None]
            try:
                for row in rows:
                    tally.add(row)
            except TooManyFiguresError:
                await abort_exhausted(context, "group_by", "more figures than a sidecar counts; ask storage")
            earliest = rows[-1] if rows else earliest
            if asyncio.get_running_loop().time() >= until:
                await abort_exhausted(context, "filter.start_time", _too_early(earliest))
        return tally.answer()

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
        self, query: Query, mask: ReadMask, place: tuple[int, int, int], context: Context
    ) -> tuple[list[v1.Record], int]:
        """Records that match, and the sequence beyond which the next page begins; 0 for the last.

        `place`: the sequence beyond which this one begins, 0 for the first; as of which it is; how many.
        """
        found: list[v1.Record] = []
        beyond, as_of, size = place
        weight, until = 0, _page_end(context)
        walk = self._walking.back if query.order.is_descending else self._walking.forth
        begin = beyond or (as_of + 1 if query.order.is_descending else 0)
        async for step in walk(context, query, begin, as_of):
            for looked in step:
                if looked.row is not None and not self._is_shown(query, looked.row):
                    record = mask.apply(looked.row)
                    weight += record.ByteSize() + _ITEM_BYTES
                    if found and weight > _PAGE_BYTES:
                        return found, beyond
                    found.append(record)
                beyond = looked.sequence
                if len(found) == size:
                    return found, beyond
            if asyncio.get_running_loop().time() >= until:
                return found, beyond
        return found, 0

    async def _latest(self, query: Query, count: int, as_of: int, context: Context) -> list[int]:
        """Sequences of the latest `count` records that match, descending."""
        found: list[int] = []
        until = _page_end(context)
        if not count:
            return found
        async for step in self._walking.back(context, query, as_of + 1, as_of):
            found += [each.sequence for each in step if each.row is not None and not each.row.is_continued]
            if len(found) >= count or asyncio.get_running_loop().time() >= until:
                break
        return found[:count]

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


class _OfSpool:
    """What a token goes with: the spool, as another one numbers other records, the query and what it is for,
    as no list goes on where an export ended.
    """

    def __init__(self, spool: Spool, purpose: bytes, query: Query) -> None:
        self.digest = sha256(spool.spool_id + query.digest + purpose).digest()[:8]


def _read_query(request: v1.ListRecordsRequest) -> Query:
    query = Query.of(request.filter, request.order_by)
    if query.order.key != "start_time":
        raise InvalidArgumentError("order_by", _ORDER)
    return query


def _read_position(tokens: PageTokens, token: str) -> tuple[int, int, bytes] | None:
    """As of which sequence a list is, beyond which it goes on, and below which call; None for a new one."""
    packed = tokens.unpack(token)
    if packed is None:
        return None
    as_of, beyond, call = _POSITION.unpack(packed)
    return min(as_of, _LAST - 1), min(beyond, _LAST), call


def _too_early(earliest: v1.Record | None) -> str:
    if earliest is None:
        return "more records than can be looked through in time; ask for a later time, or ask storage"
    reached = datetime.fromtimestamp(earliest.timing.start.seconds, UTC)
    return f"counted back to {reached:%Y-%m-%dT%H:%M:%SZ} in time; ask for what started after, or ask storage"


async def _any_of(news: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await news.wait()


def _page_end(context: Context) -> float:
    """When to stop looking: a caller in a hurry gets what was found by half its time."""
    left = context.time_remaining()
    seconds = _PAGE_SECONDS if left is None else min(left / 2, _PAGE_SECONDS)
    return asyncio.get_running_loop().time() + seconds
