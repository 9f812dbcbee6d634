"""Running: all sinks of a storage process: who runs each, how they stand, what is counted as lost.

Touches the archive, from threads. Where several storage processes keep one archive each sink is run by one of
them, by a lease (storage.audit.sharing): when that one ends, another takes over, within the lease's time when
it was killed. For a moment there may be two; then records go on twice.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Final

from infertap import v1
from storage.archive import ArchiveError, Arrival, CountRemoved, Interrupt
from storage.audit import LEASE_SECONDS, Lease
from storage.sinks.forwarding import Around, Forwarding
from storage.sinks.numbers import SinkNumbers
from storage.sinks.progress import SetAside
from storage.sinks.sinks_file import SinkSettings

_RENEW_SECONDS: Final = LEASE_SECONDS / 4
# After which a lease that could not be renewed is given up: well before anybody else takes it.
_GIVE_UP_SECONDS: Final = LEASE_SECONDS * 0.75


class UnknownSinkError(Exception):
    """No sink of that name is configured."""


class Sinks:
    """The sinks that are configured."""

    def __init__(
        self, settings: Sequence[SinkSettings], around: Around, numbers: SinkNumbers, *, is_shared: bool
    ) -> None:
        """`is_shared`: other processes keep the archive too."""
        self._around = around
        self._is_shared = is_shared
        self._forwarding = {each.name: Forwarding(each, around, numbers) for each in settings}
        self._numbers = numbers
        if settings:
            around.archive.on_removal(self._count_removed)

    async def run(self) -> None:
        """Forward, until cancelled."""
        run = self._run_by_lease if self._is_shared else Forwarding.run
        tasks = [asyncio.create_task(run(each)) for each in self._forwarding.values()]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(each.close() for each in self._forwarding.values()))

    async def _run_by_lease(self, forwarding: Forwarding) -> None:
        lease = Lease(self._around.notes, key=f"sink {forwarding.settings.name}".encode())
        try:
            while True:
                if await self._hold(lease):
                    await self._run_while_held(forwarding, lease)
                else:
                    await asyncio.sleep(_RENEW_SECONDS)
        finally:
            with contextlib.suppress(ArchiveError):
                await asyncio.shield(asyncio.to_thread(lease.release))

    async def _run_while_held(self, forwarding: Forwarding, lease: Lease) -> None:
        running = asyncio.create_task(forwarding.run())
        held_at = time.monotonic()
        try:
            while time.monotonic() < held_at + _GIVE_UP_SECONDS:
                await asyncio.sleep(_RENEW_SECONDS)
                asked_at = time.monotonic()
                held = await self._hold(lease)
                if held:
                    held_at = asked_at
                elif held is False:
                    break
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            forwarding.rest()

    async def _hold(self, lease: Lease) -> bool | None:
        """Whether the lease is ours; None where nobody knows."""
        try:
            return await asyncio.to_thread(lease.hold, time.time_ns())
        except ArchiveError:
            return None

    # -- how they stand; all of these block and raise ArchiveError

    def stands(self) -> list[v1.Sink]:
        """How each stands, as they are configured."""
        return [self._stands(each) for each in self._forwarding.values()]

    def _stands(self, forwarding: Forwarding) -> v1.Sink:
        notes, settings = forwarding.notes, forwarding.settings
        progress = notes.progress()  # first: what is set aside is kept before it
        made = v1.Sink(
            name=settings.name,
            kind=settings.kind,
            refused=notes.count_aside(),
            dropped=notes.dropped(),
            lost=notes.lost(),
        )
        if progress is None:
            return made
        made.delivered, made.passed_over = progress.delivered, progress.passed_over
        made.waiting = self._around.archive.waiting(progress.at, Interrupt())
        for first in self._around.archive.arrivals(progress.at, 1, 1, Interrupt()):
            made.behind.FromNanoseconds(max(time.time_ns() - first.stored_ns, 0))
        if progress.error:
            made.last_error = progress.error
            made.last_error_at.FromNanoseconds(progress.error_ns)
        return made

    def refused(self, name: str, after: Arrival | None, most: int) -> list[SetAside]:
        """What that sink refused, in order of storing. Raises UnknownSinkError."""
        return self._called(name).notes.aside(after, most)

    def resend(self, name: str) -> int:
        """Have it sent again by whoever runs the sink; how many there are. Raises UnknownSinkError."""
        forwarding = self._called(name)
        forwarding.notes.ask_to_resend(time.time_ns())
        return forwarding.notes.count_aside()

    def drop(self, name: str) -> int:
        """Give it up; how many records that was. Raises UnknownSinkError."""
        return self._called(name).notes.drop_aside()

    def wake(self, name: str) -> None:
        """Have that sink look now whether it was asked for something; from the loop."""
        self._called(name).wake()

    def _called(self, name: str) -> Forwarding:
        if name not in self._forwarding:
            raise UnknownSinkError
        return self._forwarding[name]

    def _count_removed(self, count: CountRemoved) -> None:
        """Records are about to be removed: what has not gone on is lost to the sinks. A batch under way
        counts as lost here, although it may yet arrive.
        """
        for each in self._forwarding.values():
            progress = each.notes.progress()
            lost = count(progress.at, each.settings.query) if progress is not None else 0
            if lost:
                each.notes.lose(lost)
                self._numbers.lost(each.settings.name, lost)
