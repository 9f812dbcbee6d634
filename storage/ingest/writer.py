"""Writer: brings what all streams receive into the archive, as few large commits.

Touches the archive, in one thread of its own, and the wall clock. It promises: who waits for a batch is told
after the engine's commit, never before; what waits is bounded, so that a slow disk slows the senders; what
nobody waits for any more, before its turn, is let go.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from storage.archive import Archive, ArchiveError, Entry, GapEntry, Position, RecordEntry, Stored
from storage.event_log import log_event
from storage.live import InFlight, Live
from storage.numbers import Numbers

_MOST_BATCHES: Final = 64
_COMMIT_ENTRIES: Final = 2048
_COMMIT_BYTES: Final = 16 << 20


@dataclass(slots=True, eq=False)
class _Batch:
    """What waits to be written, and who waits for that."""

    entries: Sequence[Entry]
    done: "asyncio.Future[None]"


def take_all(_: Sequence[Entry], __: int) -> None:
    """No check."""


class Writer:
    """The archive's only writer."""

    def __init__(
        self,
        archive: Archive,
        live: Live,
        numbers: Numbers,
        in_flight: InFlight,
        *,
        check: Callable[[Sequence[Entry], int], None] = take_all,
        pace_seconds: float = 0.0,
        last_ns: int = 0,
    ) -> None:
        """`check` is called in the writer's thread with entries about to be kept, and the time; it may
        raise ArchiveError. Commits that are not full are `pace_seconds` apart, for engines to which each
        costs more than what is in it. `last_ns`: when the last record was stored that is there already.
        """
        self._pace_seconds = pace_seconds
        self._archive = archive
        self._check = check
        self._in_flight = in_flight
        # Whether the last commit failed: said once, and once when it is over.
        self._is_failing = False
        self._live = live
        self._numbers = numbers
        self._waiting: asyncio.Queue[_Batch] = asyncio.Queue(_MOST_BATCHES)
        self._thread = ThreadPoolExecutor(1, "writer")
        self._last_ns = last_ns

    def now(self) -> int:
        """The clock that records are stored by: nanoseconds since the epoch, never before what was stored."""
        return max(time.time_ns(), self._last_ns)

    async def write(self, entries: Sequence[Entry]) -> None:
        """Return once `entries` are durable; raises ArchiveError."""
        batch = _Batch(entries, asyncio.get_running_loop().create_future())
        await self._waiting.put(batch)
        try:
            await batch.done
        except asyncio.CancelledError:
            # It is counted no longer as under way, and so must take no memory: it comes again.
            batch.entries = ()
            raise

    async def run(self) -> None:
        """Write, until cancelled."""
        try:
            while True:
                began = time.monotonic()
                batches = await self._next()
                await self._commit(batches)
                if self._pace_seconds and sum(len(each.entries) for each in batches) < _COMMIT_ENTRIES:
                    await asyncio.sleep(max(began + self._pace_seconds - time.monotonic(), 0))
        finally:
            self._thread.shutdown()

    async def _next(self) -> list[_Batch]:
        """What waits, up to one commit's worth."""
        batches = [await self._waiting.get()]
        entries, size = len(batches[0].entries), _size(batches[0].entries)
        while entries < _COMMIT_ENTRIES and size < _COMMIT_BYTES and not self._waiting.empty():
            batches.append(self._waiting.get_nowait())
            entries += len(batches[-1].entries)
            size += _size(batches[-1].entries)
        return batches

    async def _commit(self, batches: list[_Batch]) -> None:
        entries = [entry for batch in batches for entry in batch.entries]
        # Each later than the one before, whatever the clock does: sinks follow that order.
        stored_ns = max(time.time_ns(), self._last_ns + 1)
        self._last_ns = stored_ns
        began = time.monotonic()
        try:
            fresh = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._append, entries, stored_ns
            )
        except Exception as error:
            self._numbers.failed_commits.inc(len(batches))
            failure = error if isinstance(error, ArchiveError) else ArchiveError(type(error).__name__)
            if not self._is_failing:
                self._is_failing = True
                log_event("the archive takes nothing", why=str(failure))
            for each in batches:
                if not each.done.done():
                    each.done.set_exception(failure)
            return
        if self._is_failing:
            self._is_failing = False
            log_event("the archive takes records again")
        self._numbers.commit_seconds.observe(time.monotonic() - began)
        self._count(entries, fresh)
        for entry in entries:
            if isinstance(entry, RecordEntry):
                self._in_flight.recorded(entry.spool_id, entry.parsed)
        for each in batches:
            if not each.done.done():
                each.done.set_result(None)
        if self._live.has_listeners:
            self._live.tell([_stored(entry, stored_ns).served() for entry in fresh])

    def _append(self, entries: Sequence[Entry], stored_ns: int) -> list[RecordEntry]:
        self._check(entries, stored_ns)
        return self._archive.append(entries, stored_ns)

    def _count(self, entries: Sequence[Entry], fresh: Sequence[RecordEntry]) -> None:
        gaps = sum(isinstance(entry, GapEntry) for entry in entries)
        self._numbers.records.inc(len(fresh))
        self._numbers.record_bytes.inc(_size(fresh))
        self._numbers.gaps.inc(gaps)
        self._numbers.duplicates.inc(len(entries) - gaps - len(fresh))


def _size(entries: Sequence[Entry]) -> int:
    return sum(len(entry.record) for entry in entries if isinstance(entry, RecordEntry))


def _stored(entry: RecordEntry, stored_ns: int) -> Stored:
    start_ns = entry.parsed.timing.start.ToNanoseconds()
    position = Position(start_ns, start_ns, entry.spool_id, entry.sequence)
    return Stored(position, entry.record, stored_ns, entry.tenant)
