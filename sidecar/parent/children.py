"""Children: one supervised process each, started again when it dies.

Touches processes and the event log. It promises that a child that ends without being told to is started
again, after a pause that doubles from RESTART_SECONDS to RESTART_SECONDS_MAX while it keeps dying young; and
that `stop` ends it for good, by SIGKILL where SIGTERM is not heard in time.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from sidecar.event_log import log_event

RESTART_SECONDS: Final = 0.1
RESTART_SECONDS_MAX: Final = 5.0
# A child that lived this long is not dying young.
_STEADY_SECONDS: Final = 10.0


def restart_pause(pause_before: float, lived_seconds: float) -> float:
    """How long to wait before the next start, from the pause before and how long the child then lived."""
    if lived_seconds >= _STEADY_SECONDS or not pause_before:
        return RESTART_SECONDS
    return min(pause_before * 2, RESTART_SECONDS_MAX)


@contextlib.contextmanager
def _holding_back(number: signal.Signals) -> Iterator[None]:
    """Block a signal meanwhile, here and in what is started: it comes afterwards.

    Others may be started meanwhile. asyncio forks before it first gives way, so the earliest end is no harm.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})


class Child:
    """One process under supervision.

    It starts with SIGTERM blocked, and unblocks it once it knows what to do then: told to stop while it is
    still loading, it would die of it, and what waits for it were lost.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        descriptors: Sequence[int],
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        """`descriptors` are passed on by number; `on_death` is called each time the process has ended."""
        self.name = name
        self.restarts = 0
        self._command = command
        self._descriptors = descriptors
        self._on_death = on_death
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The running process, None between two."""
        return self._process.pid if self._process is not None else None

    async def supervise(self) -> None:
        """Run the child, again and again, until `stop`."""
        loop = asyncio.get_running_loop()
        pause = 0.0
        try:
            while not self._stopping.is_set():
                started = loop.time()
                await self._run_once()
                if self._stopping.is_set():
                    return
                pause = restart_pause(pause, loop.time() - started)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause)
                self.restarts += not self._stopping.is_set()
        finally:
            self._ended.set()

    async def _run_once(self) -> None:
        try:
            with _holding_back(signal.SIGTERM):
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=self._descriptors,
                    # Its own group: a terminal's Ctrl-C goes to the parent, which then drains in order.
                    process_group=0,
                )
        except OSError as error:
            log_event("parent", "child can't be started", child=self.name, errno=error.errno)
            return
        self._process = process
        log_event("parent", "child started", child=self.name, pid=process.pid)
        if self._stopping.is_set():  # told to stop while it was being started
            self._signal(signal.SIGTERM)
        status = await process.wait()
        self._process = None
        log_event("parent", "child ended", child=self.name, pid=process.pid, status=status)
        self._on_death()

    def tell_to_stop(self) -> None:
        """Send SIGTERM; told again, the child hurries. It is not started again."""
        self._stopping.set()
        self._signal(signal.SIGTERM)

    async def ended(self) -> None:
        """Return once the child has been told to stop and is gone."""
        await self._ended.wait()

    async def stop(self, patience_seconds: float) -> None:
        """Tell it to stop and wait; SIGKILL after `patience_seconds`."""
        self.tell_to_stop()
        try:
            await asyncio.wait_for(self._ended.wait(), patience_seconds)
        except TimeoutError:
            log_event("parent", "child killed: it did not end in time", child=self.name)
            self._signal(signal.SIGKILL)
            await self._ended.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
