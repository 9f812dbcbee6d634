"""Process: one relay from start to end, in the order it happens: open, relay, drain.

Touches the descriptors that the parent handed over, signals and the event loop. It promises: SIGTERM stops
accepting, lets calls finish within the drain time, hands over what was captured, and ends; a second SIGTERM
ends at once; a parent that is gone ends the relay at once; a predecessor's open books are closed before
anything else.
"""

import argparse
import asyncio
import os
import resource
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import uvloop

from infertap import core_files
from sidecar import collecting
from sidecar.account import close_books
from sidecar.compiled import is_compiled
from sidecar.config import Route, Settings
from sidecar.counters import CounterPage
from sidecar.event_log import log_event
from sidecar.relay import draining
from sidecar.relay.dialling import Dialler
from sidecar.relay.listener import Listener
from sidecar.relay.memory import Allocator
from sidecar.relay.recording import Recording, open_recording
from sidecar.relay.rounds import Rounds
from sidecar.relay.traffic import Traffic
from sidecar.tls import ClientContexts, ServerContexts

# Listening sockets, pairs, pages, the loop's own, models that are asked what they speak.
_DESCRIPTORS_ELSE: Final = 64
# What the hand-off may take to empty at the end, beyond which the recorder is given up.
_OUTBOX_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What the parent hands over, as its command line says it. Numbers are descriptors but for the slots."""

    slot: int
    slots: int
    run_id: str
    counters: int
    handoff: int
    listening: tuple[int, ...]
    lifeline: int


def read_arguments(arguments: Sequence[str]) -> Inheritance:
    """The parent's arguments; ends the process with a message where they are not the parent's."""
    parser = argparse.ArgumentParser(
        prog="python -m sidecar.relay", description="Started by python -m sidecar."
    )
    parser.add_argument("--slot", type=int, required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--run-id", required=True)
    parser.add_argument("--counters-fd", type=int, required=True)
    parser.add_argument("--handoff-fd", type=int, required=True)
    parser.add_argument("--listen-fds", required=True)
    parser.add_argument("--lifeline-fd", type=int, required=True)
    read = parser.parse_args(arguments)
    return Inheritance(
        slot=read.slot,
        slots=read.slots,
        run_id=read.run_id,
        counters=read.counters_fd,
        handoff=read.handoff_fd,
        listening=tuple(int(number) for number in read.listen_fds.split(",")),
        lifeline=read.lifeline_fd,
    )


class Relay:
    """One relay process, once its loop runs."""

    def __init__(self, settings: Settings, inheritance: Inheritance) -> None:
        self._settings = settings
        self._inheritance = inheritance
        page = CounterPage(inheritance.counters, inheritance.slots)
        self._row, self._recorder_row = page.relay(inheritance.slot), page.recorder()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        """Relay until SIGTERM, then drain."""
        lost = close_books(self._row)
        self._watch_parent()
        self._watch_signals()
        recording = open_recording(self._settings, self._inheritance.handoff, self._row, self._recorder_row)
        traffic = Traffic(self._row, recording.open_tap, _connections_max(self._settings))
        traffic.refuses_unrecordable = self._settings.unrecordable == "refuse"
        self._make_rounds(traffic)
        listeners = self._listen(traffic)
        slot = self._inheritance.slot
        log_event("relay", "accepting", slot=slot, calls_lost_before=lost, compiled=is_compiled())
        collecting.settle()
        await self._stop.wait()
        await self._drain(traffic, listeners)
        await self._empty(recording)
        log_event("relay", "ended", slot=self._inheritance.slot)

    def _make_rounds(self, traffic: Traffic) -> None:
        allocator = Allocator()
        row = self._row

        def after_round() -> None:
            allocator.look(row["bytes_from_client"] + row["bytes_from_model"], row["open"])

        Rounds(traffic, self._settings.state_budget_bytes, after_round).start()

    def _listen(self, traffic: Traffic) -> list[Listener]:
        routes = self._settings.all_routes()
        descriptors = self._inheritance.listening
        listeners = [
            self._listener(number, route, socket.socket(fileno=descriptor), traffic)
            for number, (route, descriptor) in enumerate(zip(routes, descriptors, strict=True))
        ]
        for listener in listeners:
            listener.start()
        self._row["accepting"] = 1
        return listeners

    def _listener(self, number: int, route: Route, listening: socket.socket, traffic: Traffic) -> Listener:
        settings = self._settings
        spoken = route.protocol or settings.protocol
        dialler = Dialler(route, spoken, ClientContexts(settings), traffic.dialled_from)
        if not route.listens_with_tls:
            return Listener(listening, number, dialler, traffic)
        assert settings.tls_cert_file is not None  # a tls: address has both
        assert settings.tls_key_file is not None
        tls = ServerContexts(settings.tls_cert_file, settings.tls_key_file, time.monotonic)
        return Listener(listening, number, dialler, traffic, tls)

    # -- what ends a relay

    def _watch_parent(self) -> None:
        asyncio.get_running_loop().add_reader(self._inheritance.lifeline, self._parent_is_gone)

    def _parent_is_gone(self) -> None:
        # The listening sockets may be bound again at any moment by a new parent: go at once.
        log_event("relay", "parent is gone", slot=self._inheritance.slot)
        os._exit(1)

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # blocked by the parent until now
        # A terminal's Ctrl-C reaches the whole group; the parent decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _terminate(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    # -- the end

    async def _drain(self, traffic: Traffic, listeners: list[Listener]) -> None:
        draining.ask_to_leave(traffic)
        await draining.accept_the_rest(listeners)
        self._row["accepting"] = 0
        cut = await draining.finish(traffic, self._settings.drain_seconds, self._hurry)
        if cut:
            log_event("relay", "drain time is up", slot=self._inheritance.slot, calls_broken_off=cut)

    async def _empty(self, recording: Recording) -> None:
        try:
            async with asyncio.timeout(_OUTBOX_SECONDS):
                await recording.outbox.drain()
        except TimeoutError:
            log_event("relay", "recorder takes nothing: calls are lost", slot=self._inheritance.slot)
        recording.reports.close()
        recording.outbox.close()


def _connections_max(settings: Settings) -> int:
    """As many clients as the settings and the descriptors allow: each takes two, and some are needed else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(settings.max_connections, max(1, (soft - _DESCRIPTORS_ELSE) // 2))


def run(settings: Settings, inheritance: Inheritance) -> None:
    """Run a relay to its end, in this process."""
    core_files.forbid()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Relay(settings, inheritance).run())
