"""Records: RecordService over the archive and what is in flight: by call id, in pages, live, in figures."""

import dataclasses
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

from infertap import v1
from infertap.query import (
    BACKLOG_MOST,
    InvalidArgumentError,
    PageTokens,
    Query,
    ReadMask,
    StatsQuery,
    abort_exhausted,
    abort_invalid,
    is_segment,
    page_in_flight,
    read_backlog,
    read_call_id,
    read_page_size,
)
from storage.archive import Archive, Page, Position
from storage.identity import caller_of
from storage.live import CallInFlight, InFlight, Live
from storage.numbers import Numbers
from storage.query.asking import Asking
from storage.query.export import Export
from storage.query.places import PLACE_BYTES, Place

# Bytes of feedback in one answer, beside the records: clients of gRPC take 4 MiB unless told otherwise.
GOT_BYTES: Final = 512 << 10
LISTED_BYTES: Final = 384 << 10
_STATS_BYTES: Final = 7 << 19
# A page is short rather than late: its caller gets what was found by half the time it gave.
_PAGE_SECONDS: Final = 10.0
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class Records(v1.RecordServiceServicer):
    """Serves what the archive holds, and what is in flight."""

    def __init__(
        self,
        archive: Archive,
        live: Live,
        numbers: Numbers,
        in_flight: InFlight,
        asking: Asking,
        *,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        """`now` is the clock that records are stored by."""
        self._archive = archive
        self._asking = asking
        self._in_flight = in_flight
        self._live = live
        self._now = now
        self._numbers = numbers

    async def GetRecord(self, request: v1.GetRecordRequest, context: Context) -> v1.Record:  # noqa: N802
        """See the contract."""
        self._numbers.queries.labels("GetRecord").inc()
        try:
            mask = ReadMask(request.read_mask)
            key = read_call_id(request.call_id)
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        tenant = caller_of(context).tenant
        # First: a call that ends in between is found as its record.
        in_flight = self._in_flight.find(key, tenant)
        call_id = str(uuid.UUID(bytes=key))
        record = await self._asking.answer(
            context, lambda interrupt: self._archive.get(call_id, tenant, interrupt)
        )
        if record is None and in_flight is not None:
            record = in_flight.shown(time.monotonic_ns())
        if record is None or tenant not in (None, record.tenant):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no record of call {request.call_id}")
            raise AssertionError("abort returns never")
        await self._join([record], mask, GOT_BYTES, context)
        return mask.apply(record)

    async def ListRecords(  # noqa: N802
        self, request: v1.ListRecordsRequest, context: Context
    ) -> v1.ListRecordsResponse:
        """See the contract."""
        self._numbers.queries.labels("ListRecords").inc()
        try:
            query = Query.of(request.filter, request.order_by, caller_of(context).tenant)
            mask, size = ReadMask(request.read_mask), read_page_size(request.page_size)
            tokens = PageTokens(query, PLACE_BYTES)
            place = Place.unpack(tokens.unpack(request.page_token), self._now())
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        query, after = dataclasses.replace(query, as_of_ns=place.as_of_ns), place.after
        response = v1.ListRecordsResponse()
        follows: Position | None = None
        if query.wants_in_flight and (after is None or not after.sequence):
            found, follows = await self._page_in_flight(query, after, size, context)
            await self._join(found, mask, LISTED_BYTES, context)
            response.records.extend(map(mask.apply, found))
        if query.wants_records and not response.records:
            page = await self._page(query, after if after and after.sequence else None, size, context)
            await self._join(page.records, mask, LISTED_BYTES, context)
            response.records.extend(map(mask.apply, self._less_shown(query, page.records)))
            follows = page.after
        if follows is not None:
            response.next_page_token = tokens.pack(Place(place.as_of_ns, follows).pack())
        return response

    async def TailRecords(  # noqa: N802
        self, request: v1.TailRecordsRequest, context: Context
    ) -> AsyncIterator[v1.Record]:
        """See the contract."""
        self._numbers.queries.labels("TailRecords").inc()
        try:
            query = Query.of(request.filter, tenant=caller_of(context).tenant)
            mask, backlog = ReadMask(request.read_mask), read_backlog(request.backlog)
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        caller = caller_of(context).name
        if most := self._live.most_for(caller):
            await abort_exhausted(context, "tails", f"{most} are open already; ask again later")
        with self._live.listening(caller) as listener, self._numbers.tails.track_inprogress():
            told: set[tuple[bytes, int]] = set()
            open_calls = _latest(self._in_flight.calls())
            if backlog:
                page = await self._page(query, None, backlog, context)
                await self._join(page.records, mask, LISTED_BYTES, context)
                for record in reversed(page.records):
                    told.add((record.spool_id, record.sequence))
                    if not record.is_continued:
                        yield mask.apply(record)
            for call in open_calls:
                if query.matches(record := call.shown(time.monotonic_ns())):
                    yield mask.apply(record)
            async for record in listener:
                row = await self._row(record, context)
                if row is None or row.is_continued or (row.spool_id, row.sequence) in told:
                    continue
                if query.feedback is not None:
                    await self._join([row], mask, LISTED_BYTES, context, always=True)
                if query.matches(row):
                    yield mask.apply(row)
        await abort_exhausted(context, "tail", "too slow for what arrives; list from here, or ask for less")

    async def ExportRecords(  # noqa: N802
        self, request: v1.ExportRecordsRequest, context: Context
    ) -> AsyncIterator[v1.ExportRecordsResponse]:
        """See the contract."""
        self._numbers.queries.labels("ExportRecords").inc()
        try:
            export = Export.of(request, caller_of(context).tenant, self._now())
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        async for answer in export.run(self._archive, self._asking, context):
            yield answer

    async def GetStats(  # noqa: N802
        self, request: v1.GetStatsRequest, context: Context
    ) -> v1.GetStatsResponse:
        """See the contract."""
        self._numbers.queries.labels("GetStats").inc()
        try:
            asked = StatsQuery.of(request, caller_of(context).tenant)
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        asked = dataclasses.replace(asked, query=dataclasses.replace(asked.query, as_of_ns=self._now()))
        response = await self._asking.answer(
            context, lambda interrupt: self._archive.stats(asked, interrupt), is_long=True
        )
        while response.ByteSize() > _STATS_BYTES:
            del response.rows[len(response.rows) // 2 :]
            response.is_cut = True
        return response

    async def _row(self, record: v1.Record, context: Context) -> v1.Record | None:
        """What stands for the call of `record`; a call in flight is shown already, by what was told of it."""
        if not is_segment(record):
            return record
        return await self._asking.answer(context, lambda interrupt: self._archive.row(record, interrupt))

    async def _join(
        self,
        records: list[v1.Record],
        mask: ReadMask,
        most_bytes: int,
        context: Context,
        always: bool = False,
    ) -> None:
        """Give the records their feedback, where it is wanted."""
        if not records or not (always or mask.wants("feedback") or mask.wants("feedback_count")):
            return
        await self._asking.answer(
            context, lambda interrupt: self._archive.join_feedback(records, most_bytes, interrupt)
        )

    async def _page_in_flight(
        self, query: Query, after: Position | None, size: int, context: Context
    ) -> tuple[list[v1.Record], Position | None]:
        """Calls in flight that match, and the position after them: records follow the last of them."""
        below = None if after is None else after.spool_id
        calls, now = self._in_flight.calls(), time.monotonic_ns()
        page = await self._asking.answer(context, lambda _: page_in_flight(calls, now, query, below, size))
        if page.after is not None:
            return page.records, _among_calls(page.after)
        return page.records, _among_calls(bytes(16)) if query.wants_records else None

    def _less_shown(self, query: Query, records: Iterable[v1.Record]) -> Iterable[v1.Record]:
        """`records` but those of calls that are shown among those in flight, as they stand now."""
        for record in records:
            is_open = record.is_continued and query.wants_in_flight
            if not is_open or self._in_flight.find(uuid.UUID(record.call_id).bytes, record.tenant) is None:
                yield record

    async def _page(self, query: Query, after: Position | None, size: int, context: Context) -> Page:
        left = context.time_remaining()
        return await self._asking.answer(
            context,
            lambda interrupt: self._archive.page(query, after, size, interrupt),
            seconds=_PAGE_SECONDS if left is None else min(left / 2, _PAGE_SECONDS),
            is_long=bool(query.text),
        )


def _latest(calls: Iterable[CallInFlight]) -> list[CallInFlight]:
    """What a tail begins with: the latest that are in flight, oldest first."""
    in_flight = [call for call in calls if call.lost is None]
    return sorted(in_flight, key=lambda call: call.call_id)[-BACKLOG_MOST:]


def _among_calls(call_id: bytes) -> Position:
    """The position after that call in flight: such have no sequence, which records have from 1."""
    return Position(0, 0, call_id, 0)
