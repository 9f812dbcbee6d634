"""Query: RecordService over the archive: by call id, newest first page by page, and live."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc
import grpc.aio

from infertap import v1
from infertap.query import (
    InvalidArgumentError,
    PageTokens,
    Query,
    ReadMask,
    abort_invalid,
    read_backlog,
    read_call_id,
    read_page_size,
)
from storage.archive import Archive, ArchiveError, Interrupt, Page, Position
from storage.live import Live
from storage.numbers import Numbers

POSITION_BYTES = 32
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class Records(v1.RecordServiceServicer):
    """Serves what the archive holds."""

    def __init__(self, archive: Archive, live: Live, numbers: Numbers) -> None:
        self._archive = archive
        self._live = live
        self._numbers = numbers

    async def GetRecord(self, request: v1.GetRecordRequest, context: Context) -> v1.Record:  # noqa: N802
        """See the contract."""
        self._numbers.queries.labels("GetRecord").inc()
        try:
            mask = ReadMask(request.read_mask)
            call_id = str(uuid.UUID(bytes=read_call_id(request.call_id)))
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        try:
            record = await asyncio.to_thread(self._archive.get, call_id)
        except ArchiveError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        if record is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no record of call {request.call_id}")
            raise AssertionError("abort returns never")
        return mask.apply(record)

    async def ListRecords(  # noqa: N802
        self, request: v1.ListRecordsRequest, context: Context
    ) -> v1.ListRecordsResponse:
        """See the contract."""
        self._numbers.queries.labels("ListRecords").inc()
        try:
            query, mask = Query.of(request.filter), ReadMask(request.read_mask)
            size, tokens = read_page_size(request.page_size), PageTokens(query, POSITION_BYTES)
            after = _read_position(tokens, request.page_token)
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        page = await self._page(query, after, size, context)
        response = v1.ListRecordsResponse(records=map(mask.apply, page.records))
        if page.after is not None:
            response.next_page_token = tokens.pack(page.after.pack())
        return response

    async def TailRecords(  # noqa: N802
        self, request: v1.TailRecordsRequest, context: Context
    ) -> AsyncIterator[v1.Record]:
        """See the contract."""
        self._numbers.queries.labels("TailRecords").inc()
        try:
            query, mask = Query.of(request.filter), ReadMask(request.read_mask)
            backlog = read_backlog(request.backlog)
        except InvalidArgumentError as error:
            await abort_invalid(context, error)
        with self._live.listening() as listener, self._numbers.tails.track_inprogress():
            told: set[tuple[bytes, int]] = set()
            if backlog:
                page = await self._page(query, None, backlog, context)
                for record in reversed(page.records):
                    told.add((record.spool_id, record.sequence))
                    yield mask.apply(record)
            while not listener.is_at_end:
                record = await listener.next()
                if query.matches(record) and (record.spool_id, record.sequence) not in told:
                    yield mask.apply(record)
        await context.abort(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "too slow for what arrives; list from here, or ask for less"
        )

    async def _page(self, query: Query, after: Position | None, size: int, context: Context) -> Page:
        interrupt = Interrupt()

        def ended(_: object) -> None:
            interrupt.set()

        context.add_done_callback(ended)  # type: ignore[arg-type]
        try:
            return await asyncio.to_thread(self._archive.page, query, after, size, interrupt)
        except ArchiveError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
            raise


def _read_position(tokens: PageTokens, token: str) -> Position | None:
    """Where a page begins; raises InvalidArgumentError for a token that nobody here made."""
    packed = tokens.unpack(token)
    if packed is None:
        return None
    position = Position.unpack(packed)
    if max(position.start_ns, position.sequence) >= 1 << 63:
        raise InvalidArgumentError("page_token", "not a token of this service")
    return position
