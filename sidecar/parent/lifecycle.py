"""Lifecycle: the sidecar from start to end, in the order it happens.

Touches children, signals and what `sockets` opened. It promises: SIGTERM or SIGINT makes the sidecar unready
at once, while it still accepts for the drain delay (endpoints lag); then the door is closed, the relays
finish, and after them the recorder, so that what they captured is spooled; a second signal shortens each
wait. Exit status 0 after a drain.
"""

import asyncio
import contextlib
import os
import resource
import signal
import sys
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final

from infertap import core_files
from sidecar.account import Account, draw_up
from sidecar.config import Settings
from sidecar.event_log import log_event
from sidecar.hash_key import read_hash_key
from sidecar.parent import metrics
from sidecar.parent.admin import Admin, Answer, Pages, json_answer
from sidecar.parent.children import Child
from sidecar.parent.door import keep_out, shut
from sidecar.parent.setting_files import check_setting_files
from sidecar.parent.sockets import OpenSockets, address_of, open_sockets
from sidecar.tls import check as check_certificates

# A heartbeat comes each second; the recorder is niced, so a late one alone is no sign of death.
_HEARTBEAT_LATE_SECONDS: Final = 5.0
# For handshakes under way to finish, and the relays to accept those clients.
_DOOR_SECONDS: Final = 0.2
# Beyond the drain time: for relays to hand over what they hold, for the recorder to commit and forward.
_HANDOVER_SECONDS: Final = 5.0
_RECORDER_SECONDS: Final = 10.0
_HURRIED_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Commands:
    """How the children are started, before their arguments."""

    relay: tuple[str, ...] = (sys.executable, "-m", "sidecar.relay")
    recorder: tuple[str, ...] = (sys.executable, "-m", "sidecar.recorder")


def run(settings: Settings, commands: Commands | None = None) -> int:
    """Run the sidecar until it is told to end; returns the exit status. Raises StartError, TlsError,
    HashKeyError.
    """
    check_certificates(settings)
    read_hash_key(settings.hash_key_file)  # the recorder's; better to hear of it now
    check_setting_files(settings)
    core_files.forbid()  # for the children too, who inherit it
    _allow_many_descriptors()
    with open_sockets(settings) as sockets:
        return asyncio.run(Sidecar(settings, sockets, commands or Commands()).run())


def _allow_many_descriptors() -> None:
    """Raise the soft limit to the hard one: each client takes two descriptors of its relay."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Sidecar:
    """The running sidecar, as its parent sees it."""

    def __init__(self, settings: Settings, sockets: OpenSockets, commands: Commands) -> None:
        self._settings = settings
        self._sockets = sockets
        self._page = sockets.page
        self._run_id = os.urandom(16).hex()
        self._relays = [self._relay(commands, slot) for slot in range(settings.workers)]
        self._recorder = self._recorder_child(commands)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    def _relay(self, commands: Commands, slot: int) -> Child:
        pair = self._sockets.pairs[slot].relay_end.fileno()
        listening = [each.fileno() for each in self._sockets.listening]
        row = self._page.relay(slot)

        def not_accepting() -> None:
            row["accepting"] = 0  # its owner is dead

        command = [
            *commands.relay,
            *("--slot", str(slot), "--slots", str(self._settings.workers)),
            *("--run-id", self._run_id),
            *("--counters-fd", str(self._page.descriptor), "--handoff-fd", str(pair)),
            *("--listen-fds", ",".join(map(str, listening))),
            *("--lifeline-fd", str(self._sockets.lifeline.read_end)),
        ]
        descriptors = (self._page.descriptor, pair, *listening, self._sockets.lifeline.read_end)
        return Child(f"relay {slot}", command, descriptors, not_accepting)

    def _recorder_child(self, commands: Commands) -> Child:
        pairs = [pair.recorder_end.fileno() for pair in self._sockets.pairs]
        command = [
            *commands.recorder,
            *("--slots", str(self._settings.workers)),
            *("--run-id", self._run_id),
            *("--counters-fd", str(self._page.descriptor)),
            *("--handoff-fds", ",".join(map(str, pairs))),
            *("--lifeline-fd", str(self._sockets.lifeline.read_end)),
        ]
        descriptors = (self._page.descriptor, *pairs, self._sockets.lifeline.read_end)
        return Child("recorder", command, descriptors)

    async def run(self) -> int:
        """Start everything, wait for a signal, drain."""
        self._watch_signals()
        admin = await Admin(self._sockets.admin, self._pages()).serve()
        self._log_addresses()
        supervisors = [asyncio.create_task(child.supervise()) for child in (*self._relays, self._recorder)]
        await self._stop.wait()
        await self._drain()
        await asyncio.gather(*supervisors)
        admin.close()
        account = self._account()
        in_transit = account.hand_over.terms["in_transit"]
        log_event("parent", "sidecar ended", balanced=account.balanced, calls_not_spooled=in_transit)
        return 0

    def _log_addresses(self) -> None:
        listening = ",".join(map(address_of, self._sockets.listening))
        admin = address_of(self._sockets.admin)
        log_event("parent", "sidecar started", listen=listening, admin=admin, run_id=self._run_id)

    # -- ending

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_end)

    def _told_to_end(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def _drain(self) -> None:
        log_event("parent", "draining: not ready, accepting on", seconds=self._settings.drain_delay_seconds)
        await self._unless_hurried(self._settings.drain_delay_seconds)
        log_event("parent", "draining: relays finish", seconds=self._settings.drain_seconds)
        await self._close_door()
        finishing = asyncio.gather(*(relay.ended() for relay in self._relays))
        await self._unless_hurried(self._settings.drain_seconds + _HANDOVER_SECONDS, finishing)
        await asyncio.gather(*(relay.stop(_HURRIED_SECONDS) for relay in self._relays))
        log_event("parent", "draining: recorder finishes")
        self._recorder.tell_to_stop()
        await self._unless_hurried(_RECORDER_SECONDS, self._recorder.ended())
        await self._recorder.stop(_HURRIED_SECONDS)

    async def _close_door(self) -> None:
        """Tell the relays to finish; they accept whoever is in by now, and then nobody listens any more."""
        for listening in self._sockets.listening:
            keep_out(listening)
        for relay in self._relays:
            relay.tell_to_stop()
        await self._unless_hurried(_DOOR_SECONDS)
        for listening in self._sockets.listening:
            shut(listening)
        log_event("parent", "draining: nobody listens")

    async def _unless_hurried(self, seconds: float, awaited: Awaitable[object] | None = None) -> None:
        """Wait for `awaited` (or just wait), at most `seconds`, and not beyond a second signal."""
        waits: list[asyncio.Future[object]] = [asyncio.create_task(self._hurry.wait())]
        if awaited is not None:
            waits.append(asyncio.ensure_future(awaited))
        _, unfinished = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for each in unfinished:
            each.cancel()
        # What nobody asks for its result, asyncio reports with a traceback.
        await asyncio.gather(*unfinished, return_exceptions=True)

    # -- what people and probes ask

    def _pages(self) -> Pages:
        return {
            "/healthz": lambda: Answer(200, "alive\n"),
            "/readyz": self._readiness,
            "/metrics": self._metrics,
            "/account": lambda: json_answer(200, self._account().as_json()),
        }

    def _relay_rows(self) -> list[dict[str, int]]:
        return [self._page.relay(slot).values() for slot in range(self._settings.workers)]

    def _account(self) -> Account:
        # The recorder's row first: its numbers follow from the relays', so none is ahead of its cause.
        recorder = self._page.recorder().values()
        return draw_up(self._relay_rows(), recorder)

    def _readiness(self) -> Answer:
        if self._stop.is_set():
            return Answer(503, "draining\n")
        waiting = [slot for slot, row in enumerate(self._relay_rows()) if not row["accepting"]]
        if waiting:
            return Answer(503, f"not accepting: relay {', '.join(map(str, waiting))}\n")
        return Answer(200, "ready\n")

    def _metrics(self) -> Answer:
        recorder = self._page.recorder().values()
        relays = self._relay_rows()
        age = max(0.0, (time.monotonic_ns() - recorder["heartbeat_monotonic_ns"]) / 1e9)
        vitals = metrics.Vitals(
            relays_up=[relay.pid is not None for relay in self._relays],
            recorder_up=self._recorder.pid is not None and age < _HEARTBEAT_LATE_SECONDS,
            heartbeat_age_seconds=age,
            relay_restarts=sum(relay.restarts for relay in self._relays),
            recorder_restarts=self._recorder.restarts,
            draining=self._stop.is_set(),
        )
        text = metrics.exposition(relays, recorder, draw_up(relays, recorder), vitals)
        return Answer(200, text, metrics.CONTENT_TYPE)
