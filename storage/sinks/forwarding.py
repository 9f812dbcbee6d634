"""Forwarding: one sink's task: reads what was stored, delivers it, keeps how far it came.

Touches the archive, from threads of its own, the sink and the clocks. Ingest knows nothing of it: nobody
waits for a sink, and a sink that is away costs one batch in memory. It promises:

- At least once: the place in the archive moves behind a batch once the sink has taken it, and what it refused
  is set aside. Whatever ends this process, the next one begins at that place.
- In order of storing, batch after batch; a record that the sink refuses for ever holds nothing up.
- A batch that has waited, or is tried again, is read again: what was deleted meanwhile is no longer in it.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from infertap.setting_files import UnusableFileError
from storage.archive import Archive, ArchiveError, Arrival, Interrupt
from storage.audit import AuditArchive
from storage.sinks.gathering import Gathered, Wanted, gather
from storage.sinks.halving import deliver_one_by_one
from storage.sinks.interface import Batch, Refused, Sink, SinkError, record_id
from storage.sinks.numbers import SinkNumbers
from storage.sinks.progress import MOST_SET_ASIDE, Progress, SetAside, SinkNotes, failed
from storage.sinks.sinks_file import SinkSettings

R = TypeVar("R")
Say = Callable[..., None]
# Between two looks whether somebody asked for something.
_ASK_SECONDS: Final = 2.0
# What was passed over is kept so often, where nothing is delivered.
_KEEP_SECONDS: Final = 5.0
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 60.0
_RESENT_AT_ONCE: Final = 100
# A batch that may have waited for longer is read again before it goes.
_SOON_SECONDS: Final = 5.0
# So often a sink may fail as nobody foresaw before a record is looked for that it fails of.
_UNFORESEEN_MOST: Final = 3


@dataclass(frozen=True, slots=True)
class Around:
    """What a sink's task has to do with."""

    archive: Archive
    notes: AuditArchive
    say: Say
    # Between two looks whether there is more.
    look_seconds: float = 0.25
    # Tells pauses from each other: 0 to 1.
    chance: Callable[[], float] = random.random


class Forwarding:
    """One sink's task."""

    def __init__(self, settings: SinkSettings, around: Around, numbers: SinkNumbers) -> None:
        self.settings = settings
        self.notes = SinkNotes(around.notes, settings.name)
        self._archive = around.archive
        self._say = around.say
        self._look_seconds = around.look_seconds
        self._chance = around.chance
        self._numbers = numbers
        self._threads = ThreadPoolExecutor(1, f"sink-{settings.name}")
        self._interrupt = Interrupt()
        self._awake = asyncio.Event()
        self._asked_at = 0.0
        self._kept_at = 0.0
        # Whether it came further than is kept.
        self._is_ahead = False
        # When the first record was stored that has not gone on; None where there is none.
        self._oldest_ns: int | None = None
        self._failures = 0
        # Where the archive ended when nothing was left in it; None where nobody knows.
        self._end: Arrival | None = None
        # How many are set aside, about.
        self._aside = 0
        numbers.watch_behind(settings.name, lambda: self.behind_seconds)

    @property
    def behind_seconds(self) -> float:
        """How old the first record is that has not gone on; 0 where all have."""
        oldest = self._oldest_ns
        return 0.0 if oldest is None else max(time.time_ns() - oldest, 0) / 1e9

    def wake(self) -> None:
        """Somebody asked for something: look now."""
        self._asked_at = 0.0
        self._awake.set()

    def rest(self) -> None:
        """It is not run here for now."""
        self._oldest_ns = None

    async def close(self) -> None:
        """Let the thread go; what it reads ends. On return it touches the archive no more."""
        self._interrupt.set()
        await asyncio.to_thread(self._threads.shutdown)

    async def run(self) -> None:
        """Forward, until cancelled."""
        while True:
            try:
                await self._forward()
            except Exception as error:  # whatever it was, it is tried again
                await self._pause(error)

    async def _forward(self) -> None:
        """From opening the sink until something goes wrong that is not the sink's."""
        progress = await self._in_thread(self._begin)
        sink = await self.settings.open()
        try:
            while True:
                progress = await self._look_aside(sink, progress)
                progress = await self._step(sink, progress)
        finally:
            with contextlib.suppress(Exception):
                await sink.close()

    def _begin(self) -> Progress:
        """Where it goes on; of a sink that is new where it begins."""
        self._aside = self.notes.count_aside()
        known = self.notes.progress()
        if known is not None:
            return known
        begins = Arrival(0) if self.settings.begins_at_beginning else self._archive.latest_arrival()
        progress = Progress(begins)
        self.notes.keep(progress)
        return progress

    # -- what comes

    async def _step(self, sink: Sink, progress: Progress) -> Progress:
        """One batch, or a while without any."""
        gathered = await self._gather(progress)
        if gathered.records:
            return await self._deliver(sink, progress, gathered)
        if gathered.at != progress.at:
            progress = replace(
                progress, at=gathered.at, until=None, passed_over=progress.passed_over + gathered.passed_over
            )
            self._is_ahead = True
        elif progress.until is not None:
            progress = replace(progress, until=None)
        else:
            await self._wait(self._look_seconds)
        if self._is_ahead and time.monotonic() > self._kept_at + _KEEP_SECONDS:
            await self._keep(progress)
        return progress

    async def _gather(self, progress: Progress) -> Gathered:
        """The next batch: as large as it may get, or what came until it had waited long enough."""
        wanted = Wanted(self.settings.query, self.settings.limits, progress.until)
        gathered = Gathered(progress.at)
        ends = 0.0
        while True:
            found = await self._read_on(wanted, gathered)
            self._oldest_ns = gathered.first_ns
            if gathered.is_full or not gathered.records:
                return gathered
            ends = ends or time.monotonic() + self.settings.limits.linger_seconds
            if not found:
                left = ends - time.monotonic()
                if left <= 0 or self._awake.is_set():
                    return gathered
                await self._wait(min(left, self._look_seconds))

    async def _read_on(self, wanted: Wanted, into: Gathered) -> bool:
        """Whether there was more. The engine is not asked where nothing has been stored since it had none."""
        end = self._archive.latest_arrival()
        if end == self._end and wanted.until is None:
            return False
        found = await self._in_thread(lambda: gather(self._archive, wanted, into, self._interrupt))
        self._end = None if found else end
        return found

    async def _deliver(self, sink: Sink, progress: Progress, gathered: Gathered) -> Progress:
        """Deliver a batch, however long it takes; where it came then."""
        end = gathered.at
        if self.settings.repeats_exactly and progress.until != end:
            progress = replace(progress, until=end)
            await self._keep(progress)
        if self.settings.limits.linger_seconds > _SOON_SECONDS:
            await self._read_again(progress, gathered, end)
        refused = await self._try_until_taken(sink, progress, gathered, end)
        aside = [_set_aside(gathered, each) for each in refused]
        taken = len(gathered.records) - len(aside)
        progress = replace(
            progress,
            at=end,
            number=progress.number + 1,
            until=None,
            delivered=progress.delivered + taken,
            passed_over=progress.passed_over + gathered.passed_over,
            error="",
        )
        await self._in_thread(lambda: self.notes.set_aside(aside))
        self._aside += len(aside)
        await self._keep(progress)
        self._numbers.delivered(self.settings.name, taken)
        self._numbers.refused(self.settings.name, len(aside))
        if aside:
            self._say(
                "sink refused records", sink=self.settings.name, records=len(aside), why=aside[0].reason
            )
        self._failures = 0
        return progress

    async def _try_until_taken(
        self, sink: Sink, progress: Progress, gathered: Gathered, end: Arrival
    ) -> list[Refused]:
        """What was refused of a batch that is there, but for that. It is read again before each further try,
        into `gathered`.
        """
        unforeseen = 0
        while gathered.records:
            batch = Batch(gathered.records, progress.number)
            try:
                await self._demand_room_aside()
                if unforeseen >= _UNFORESEEN_MOST:
                    return await deliver_one_by_one(sink, batch)
                return list(await sink.deliver(batch))
            except Exception as error:  # whatever it was, it is tried again
                unforeseen += not isinstance(error, SinkError | ArchiveError)
                await self._pause(error)
            await self._read_again(progress, gathered, end)
        return []

    async def _read_again(self, progress: Progress, gathered: Gathered, end: Arrival) -> None:
        """What is still there of a batch: some may have been deleted on request."""
        wanted = Wanted(self.settings.query, self.settings.limits, end)
        again = Gathered(progress.at)
        while not again.is_full:
            await self._in_thread(lambda: gather(self._archive, wanted, again, self._interrupt))
        gathered.records, gathered.arrivals = again.records, again.arrivals
        gathered.passed_over = again.passed_over

    async def _demand_room_aside(self) -> None:
        if self._aside < MOST_SET_ASIDE:
            return
        self._aside = await self._in_thread(self.notes.count_aside)  # some may have been dropped
        if self._aside >= MOST_SET_ASIDE:
            raise SinkError("too many set aside")

    # -- what was refused

    async def _look_aside(self, sink: Sink, progress: Progress) -> Progress:
        """Now and then: whether what is set aside is to be sent again; then it is."""
        if time.monotonic() < self._asked_at + _ASK_SECONDS:
            return progress
        self._asked_at = time.monotonic()
        if not await self._in_thread(lambda: self.notes.is_asked_to_resend):
            return progress
        after: Arrival | None = None
        while aside := await self._in_thread(lambda: self.notes.aside(after, _RESENT_AT_ONCE)):  # noqa: B023
            after = aside[-1].arrival
            try:
                progress = await self._resend(sink, progress, aside)
            except SinkError as error:
                # What comes has precedence; it is tried again later.
                self._asked_at = time.monotonic() + _LONGEST_PAUSE_SECONDS
                self._say("sink failed", sink=self.settings.name, why=error.kind, resending=len(aside))
                return progress
        await self._in_thread(self.notes.end_resending)
        return progress

    async def _resend(self, sink: Sink, progress: Progress, aside: list[SetAside]) -> Progress:
        """Some of those set aside; what is refused again stays, with the reason of now."""
        found = await self._in_thread(lambda: self._find(aside))
        refused = await self._deliver_again(sink, Batch(found.records, progress.number))
        again = [_set_aside(found, each) for each in refused]
        gone = len(aside) - len(found.records)
        progress = replace(
            progress,
            number=progress.number + 1,
            delivered=progress.delivered + len(found.records) - len(again),
        )
        await self._in_thread(lambda: self._settle(aside, again, gone))
        await self._keep(progress)
        self._numbers.delivered(self.settings.name, len(found.records) - len(again))
        self._numbers.lost(self.settings.name, gone)
        return progress

    async def _deliver_again(self, sink: Sink, batch: Batch) -> list[Refused]:
        """What of it is refused once more: each by itself, as perhaps all are."""
        try:
            return list(await sink.deliver(batch)) if batch.records else []
        except Exception:  # whatever it was, it may be one record's
            return await deliver_one_by_one(sink, batch, may_all_fail=True)

    def _find(self, aside: list[SetAside]) -> Gathered:
        """Those that are still in the archive."""
        found = Gathered(Arrival(0))
        for each in aside:
            before = replace(each.arrival, sequence=each.arrival.sequence - 1)
            for stored in self._archive.arrivals(before, 1, 1, self._interrupt):
                if stored.arrival == each.arrival:
                    found.records.append(stored.served())
                    found.arrivals.append(stored.arrival)
        return found

    def _settle(self, aside: list[SetAside], again: list[SetAside], gone: int) -> None:
        still = {each.arrival for each in again}
        self.notes.set_aside(again)
        self.notes.forget([each for each in aside if each.arrival not in still])
        if gone:
            self.notes.lose(gone)

    # -- keeping, waiting

    async def _keep(self, progress: Progress) -> None:
        await self._in_thread(lambda: self.notes.keep(progress))
        self._kept_at, self._is_ahead = time.monotonic(), False

    async def _pause(self, error: Exception) -> None:
        """After something went wrong: longer each time, and as long as the sink asked for."""
        self._failures += 1
        kind = _kind_of(error)
        self._numbers.retried(self.settings.name)
        longest = min(_FIRST_PAUSE_SECONDS * 2 ** min(self._failures - 1, 10), _LONGEST_PAUSE_SECONDS)
        seconds = longest * (0.5 + self._chance() / 2)
        asked = error.retry_after_seconds if isinstance(error, SinkError) else None
        seconds = max(seconds, asked or 0.0)
        self._say("sink failed", sink=self.settings.name, why=kind, again_in_seconds=round(seconds, 1))
        with contextlib.suppress(ArchiveError):
            await self._in_thread(lambda: self._note_failure(kind))
        await self._wait(seconds)

    def _note_failure(self, kind: str) -> None:
        progress = self.notes.progress()
        if progress is not None:
            self.notes.keep(failed(progress, kind, time.time_ns()))

    async def _wait(self, seconds: float) -> None:
        """So long, or until somebody asks for something."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._awake.wait()
        self._awake.clear()

    async def _in_thread(self, act: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, act)


def _set_aside(gathered: Gathered, refused: Refused) -> SetAside:
    record = gathered.records[refused.index]
    arrival = gathered.arrivals[refused.index]
    return SetAside(arrival, record_id(record), record.call_id, refused.reason[:200], time.time_ns())


def _kind_of(error: Exception) -> str:
    """What may be told of an error: our own words, or the name of its type."""
    if isinstance(error, SinkError):
        return error.kind
    if isinstance(error, UnusableFileError):
        return "unusable file"
    return f"archive: {error}" if isinstance(error, ArchiveError) else type(error).__name__
