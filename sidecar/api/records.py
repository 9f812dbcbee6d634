"""Records: RecordService over the spool: by call id, newest first page by page, and live."""

import asyncio
import contextlib
import struct
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
    read_backlog,
    read_call_id,
    read_page_size,
)
from sidecar.spool import Spool, Spooled, SpoolError

# A position is the sequence of the last record looked at: what comes later does not move it.
_POSITION: Final = struct.Struct(">Q")
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
    """Serves what the spool holds."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
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
        spooled = await self._ask(context, self._spool.find, key)
        if spooled is None:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"no record of call {request.call_id} in this sidecar"
            )
        return mask.apply(self._served(spooled))

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
        below = None if position is None else _POSITION.unpack(position)[0]
        found, last = await self._page(query, mask, below, size, context)
        page = v1.ListRecordsResponse(records=found)
        if last:
            page.next_page_token = tokens.pack(_POSITION.pack(last))
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
            if earlier is not None:
                yield mask.apply(self._served(earlier))
        while True:
            news = self._news
            if spool_id != self._spool.spool_id:  # a new spool, whose sequences begin again
                spool_id, after = self._spool.spool_id, 0
            step = await self._ask(context, self._spool.oldest_first, after, _STEP)
            for spooled in step:
                after = spooled.sequence
                record = self._served(spooled)
                if query.matches(record):
                    yield mask.apply(record)
            if not step:
                await _any_of(news, _TAIL_SECONDS)

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
                record = self._served(spooled)
                if query.matches(record):
                    record = mask.apply(record)
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
            found += [each.sequence for each in step if query.matches(self._served(each))]
            below = step[-1].sequence
        return found[:count]

    async def _ask(self, context: Context, read: Callable[..., R], *arguments: object) -> R:
        try:
            return await asyncio.to_thread(read, *arguments)
        except SpoolError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the spool can't be read now")
            raise

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
