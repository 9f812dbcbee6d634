"""Retention: keeps the archive as old and as large as the settings say, and tells how large it is.

Touches the archive, in a thread, and the clock. It promises: one bounded step at a time, between which
records come in; what fails is tried again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from storage.archive import Archive, ArchiveError, Expired, Retention
from storage.event_log import log_event
from storage.numbers import Numbers

# Between two looks at an archive that is as it should be, and between two steps.
_LOOK_SECONDS: Final = 0.25
_STEP_SECONDS: Final = 0.01


class Retaining:
    """The task that does it."""

    def __init__(
        self,
        archive: Archive,
        retention: Retention,
        numbers: Numbers,
        on_forgotten: Callable[[], Awaitable[None]],
    ) -> None:
        """`on_forgotten` is called when the archive no longer has what it had told spools that it had."""
        self._archive = archive
        self._on_forgotten = on_forgotten
        self._retention = retention
        self._numbers = numbers

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            is_more = False
            try:
                expired = await asyncio.to_thread(self.step)
                is_more = expired.is_more
                if expired.has_forgotten:
                    await self._on_forgotten()
            except Exception as error:  # whatever it was, the next step is tried
                self._numbers.failed_expiries.inc()
                log_event(
                    "retention failed",
                    why=str(error) if isinstance(error, ArchiveError) else type(error).__name__,
                )
            await asyncio.sleep(_STEP_SECONDS if is_more else _LOOK_SECONDS)

    def step(self) -> Expired:
        """One step. Raises ArchiveError."""
        expired = self._archive.expire(self._retention, time.time_ns())
        usage = self._archive.usage()
        self._numbers.archive_bytes.set(usage.disk_bytes)
        self._numbers.damaged_files.set(usage.damaged_files)
        if expired.records:
            self._numbers.expired.inc(expired.records)
            log_event("records expired", records=expired.records, freed_bytes=expired.freed_bytes)
        return expired
