"""Retention: keeps the archive as old and as large as the settings say, and tells how large it is.

Touches the archive, in a thread, and the clock. It promises: one bounded step at a time, between which
records come in; what fails is tried again; of several processes over one archive one does it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from storage.archive import Archive, ArchiveError, Expired, Retention
from storage.audit import LEASE_SECONDS, Lease
from storage.event_log import log_event
from storage.numbers import Numbers

# Between two looks at an archive that is as it should be, and between two steps.
_LOOK_SECONDS: Final = 0.25
_STEP_SECONDS: Final = 0.01
# Where others keep the same archive: between two looks, and for how long a lease is taken as held.
_SHARED_LOOK_SECONDS: Final = 5.0
_HELD_SECONDS: Final = LEASE_SECONDS / 3


class Retaining:
    """The task that does it."""

    def __init__(
        self,
        archive: Archive,
        retention: Retention,
        numbers: Numbers,
        on_forgotten: Callable[[], Awaitable[None]],
        lease: Lease | None = None,
    ) -> None:
        """`on_forgotten` is called when the archive no longer has what it had told spools that it had; with a
        `lease`, whichever process of several holds it lets records expire.
        """
        self._lease = lease
        self._held_until = 0.0
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
            look_seconds = _LOOK_SECONDS if self._lease is None else _SHARED_LOOK_SECONDS
            await asyncio.sleep(_STEP_SECONDS if is_more else look_seconds)

    def step(self) -> Expired:
        """One step. Raises ArchiveError."""
        expired = self._expire() if self._is_ours() else Expired()
        usage = self._archive.usage()
        self._numbers.archive_bytes.set(usage.disk_bytes)
        self._numbers.damaged_files.set(usage.damaged_files)
        if expired.records:
            self._numbers.expired.inc(expired.records)
            log_event("records expired", records=expired.records, freed_bytes=expired.freed_bytes)
        return expired

    def _expire(self) -> Expired:
        return self._archive.expire(self._retention, time.time_ns())

    def _is_ours(self) -> bool:
        """Whether it is this process that does it. The lease is renewed well before it ends."""
        if self._lease is None:
            return True
        if not self._lease.is_held or time.monotonic() > self._held_until:
            began = time.monotonic()
            if self._lease.hold(time.time_ns()):
                self._held_until = began + _HELD_SECONDS
        return self._lease.is_held
