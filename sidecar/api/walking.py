"""Walking: through the spool step by step, in either direction; each call comes once, as things were then.

Reads the spool in threads, for other callers have their turn between two steps. Sequences say when a record
came: those above `as_of` were not there yet, of a call in segments neither.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import grpc
import grpc.aio

from infertap import v1
from infertap.query import Query, is_segment, join_segments
from sidecar.spool import Spool, Spooled, SpoolError

# Records that are looked at in one step.
STEP: Final = 200
# What is recorded so long before the time that is asked for ends a walk back: a call starts before it is
# recorded, but clocks are set.
_MARGIN_NS: Final = 60_000_000_000

R = TypeVar("R")
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Looked:
    """A record that was looked at; `row` is what stands for its call, where it does and is asked for."""

    sequence: int
    row: v1.Record | None


class Walking:
    """The spool, as a service walks through it."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    async def latest(self, context: Context) -> int:
        """The sequence of the latest record; 0 where there is none."""
        latest = await self.ask(context, self._spool.newest_first, None, 1)
        return latest[0].sequence if latest else 0

    async def back(
        self, context: Context, query: Query, below: int, as_of: int
    ) -> AsyncIterator[list[Looked]]:
        """What was recorded below a sequence, the latest first."""
        while step := await self.ask(context, self._spool.newest_first, min(below, as_of + 1), STEP):
            yield [await self._look(context, query, spooled, as_of) for spooled in step]
            below = step[-1].sequence
            if is_before(query, step[-1]):
                return

    async def forth(
        self, context: Context, query: Query, above: int, as_of: int
    ) -> AsyncIterator[list[Looked]]:
        """What was recorded above a sequence, the earliest first."""
        while step := await self.ask(context, self._spool.oldest_first, above, STEP):
            there = [spooled for spooled in step if spooled.sequence <= as_of]
            yield [await self._look(context, query, spooled, as_of) for spooled in there]
            above = step[-1].sequence
            if above >= as_of:
                return

    async def _look(self, context: Context, query: Query, spooled: Spooled, as_of: int) -> Looked:
        row = await self.row(context, spooled, as_of)
        return Looked(spooled.sequence, row if row is not None and query.matches(row) else None)

    async def row(self, context: Context, spooled: Spooled, as_of: int | None = None) -> v1.Record | None:
        """What stands for a call in lists: its record, or its segments joined where this is the latest of
        them; None where another one stands for it.
        """
        record = self.served(spooled)
        if not is_segment(record):
            return record
        key = uuid.UUID(record.call_id).bytes
        latest = await self.ask(context, self._spool.find, key)
        if latest is not None and spooled.sequence < latest.sequence <= (as_of or latest.sequence):
            return None
        joined = await self.ask(context, self._joined, key, as_of)
        return joined if joined is not None and joined.sequence == spooled.sequence else None

    def _joined(self, key: bytes, as_of: int | None) -> v1.Record | None:
        there = (each for each in self._spool.find_all(key) if as_of is None or each.sequence <= as_of)
        return join_segments(map(self.served, there))

    def served(self, spooled: Spooled) -> v1.Record:
        """The record, with what only its server knows."""
        record = v1.Record.FromString(spooled.record)
        record.sequence = spooled.sequence
        record.spool_id = self._spool.spool_id
        return record

    async def ask(self, context: Context, read: Callable[..., R], *arguments: object) -> R:
        """What the spool says; ends the call where it can't be read."""
        try:
            return await asyncio.to_thread(read, *arguments)
        except SpoolError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the spool can't be read now")
            raise


def is_before(query: Query, spooled: Spooled) -> bool:
    """Whether this was recorded before all that is asked for started, and so was all that came before it."""
    if query.start_ns is None:
        return False
    recorded = v1.Record.FromString(spooled.record).timing.recorded_at
    return 0 < recorded.ToNanoseconds() < query.start_ns - _MARGIN_NS
