"""Process: the recorder from start to end: open, record, drain.

Touches the descriptors that the parent handed over, the spool, signals, and the event loop that the API and
the forwarder live on; the pipeline has a thread of its own. It promises: SIGTERM, and a parent that is gone,
end it after what has arrived is in the spool, and within DRAIN_SECONDS; where the parent is gone the API's
port is free at once and the spool soon, as a new sidecar needs both; nothing raw leaves its memory by a core
file; its memory is limited, and it gives way to the model (nice 10).
"""

import argparse
import asyncio
import contextlib
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

import infertap
from infertap import core_files, v1
from infertap.connection import Connection
from infertap.identity import ServerFiles
from sidecar import collecting
from sidecar.account import draw_up, terms
from sidecar.api import Api, ApiFiles, CannotServeError
from sidecar.config import Settings
from sidecar.counters import CounterPage, Row
from sidecar.event_log import log_event
from sidecar.forwarder import Forwarder
from sidecar.hash_key import read_hash_key
from sidecar.in_flight import InFlight
from sidecar.recorder.books import Books
from sidecar.recorder.conversion import Conversion
from sidecar.recorder.pipeline import Pipeline
from sidecar.recorder.schemas import Schemas
from sidecar.spool import Spool, SpoolLocked

NICENESS: Final = 10
# For all of the end: the parent gives 10 seconds. What is still unsent then waits in the spool.
DRAIN_SECONDS: Final = 8.0
# The same where the parent is gone: less than a successor waits for the spool, and it sends the rest.
_ORPHAN_SECONDS: Final = 1.0
# The API's port is taken: recording goes on, and it is tried again.
_API_AGAIN_SECONDS: Final = 5.0
_READER_CHECK_SECONDS: Final = 60.0
_SHOW_SECONDS: Final = 1.0
# A predecessor that is being killed may hold the spool for a moment.
_LOCKED_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What the parent hands over, as its command line says it. Numbers are descriptors but for the slots."""

    slots: int
    run_id: bytes
    counters: int
    handoffs: tuple[int, ...]
    lifeline: int


def read_arguments(arguments: Sequence[str]) -> Inheritance:
    """The parent's arguments; ends the process with a message where they are not the parent's."""
    parser = argparse.ArgumentParser(
        prog="python -m sidecar.recorder", description="Started by python -m sidecar."
    )
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--run-id", type=bytes.fromhex, required=True)
    parser.add_argument("--counters-fd", type=int, required=True)
    parser.add_argument("--handoff-fds", required=True)
    parser.add_argument("--lifeline-fd", type=int, required=True)
    read = parser.parse_args(arguments)
    return Inheritance(
        slots=read.slots,
        run_id=read.run_id,
        counters=read.counters_fd,
        handoffs=tuple(int(number) for number in read.handoff_fds.split(",")),
        lifeline=read.lifeline_fd,
    )


def _give_way_no_more() -> None:
    """The relays are gone, and time is short: a share of the CPU again, where that is allowed."""
    with contextlib.suppress(OSError):
        for thread in os.listdir("/proc/self/task"):
            os.sched_setscheduler(int(thread), os.SCHED_OTHER, os.sched_param(0))


def limit_process(settings: Settings) -> None:
    """Give way to the relay and the model, bound memory, leave no core file."""
    os.nice(max(NICENESS - os.nice(0), 0))
    if settings.recorder_priority == "idle":
        # A nice process runs out its slice before one that wakes; an idle one (sched(7)) is interrupted.
        with contextlib.suppress(OSError):  # sandboxes (gVisor, seccomp) may know or allow no other policy
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    core_files.forbid()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = settings.recorder_memory_bytes
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard if hard != resource.RLIM_INFINITY else most))


class Recorder:
    """One recorder process, once its loop runs."""

    def __init__(self, settings: Settings, inheritance: Inheritance, spool: Spool) -> None:
        self._settings = settings
        self._inheritance = inheritance
        self._spool = spool
        self._page = CounterPage(inheritance.counters, inheritance.slots)
        self._in_flight = InFlight()
        self._stop = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._end_seconds = DRAIN_SECONDS
        self._failed = False

    async def run(self) -> bool:
        """Record until told to end; False where a part of it failed and the parent should start it anew."""
        loop = asyncio.get_running_loop()
        forwarder = self._forwarder()
        api = self._api(forwarder)

        def committed() -> None:
            if forwarder is not None:
                forwarder.wake()
            with contextlib.suppress(RuntimeError):  # the loop is closing
                loop.call_soon_threadsafe(api.wake)

        pipeline = self._pipeline(committed)
        working = threading.Thread(target=self._work, args=(pipeline, loop), name="pipeline")
        working.start()
        self._watch()
        self._begin(forwarder, api)
        collecting.settle()
        log_event("recorder", "recording", spool_id=self._spool.spool_id.hex())
        await self._stop.wait()
        end_by = loop.time() + self._end_seconds
        _give_way_no_more()
        pipeline.stop()
        await asyncio.to_thread(working.join)
        await self._end(forwarder, end_by)
        log_event("recorder", "ended")
        return not self._failed

    def _pipeline(self, committed: Callable[[], None]) -> Pipeline:
        inheritance = self._inheritance
        sockets = [socket.socket(fileno=descriptor) for descriptor in inheritance.handoffs]
        conversion = Conversion(
            self._settings,
            read_hash_key(self._settings.hash_key_file),
            inheritance.run_id,
            Schemas.of(self._settings),
        )
        books = Books.open(inheritance.run_id, inheritance.slots, self._spool.notes())
        return Pipeline(
            sockets,
            self._page,
            conversion,
            self._spool,
            books=books,
            in_flight=self._in_flight,
            on_commit=committed,
        )

    def _work(self, pipeline: Pipeline, loop: asyncio.AbstractEventLoop) -> None:
        try:
            pipeline.run()
        except BaseException as fault:
            # Its text could quote what passed. The parent starts a new recorder, which counts what is lost.
            log_event("recorder", "pipeline failed", fault=type(fault).__name__)
            os._exit(1)
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._stop.set)

    def _forwarder(self) -> Forwarder | None:
        settings = self._settings
        if settings.storage is None:
            return None
        hello = v1.Hello(
            pod=settings.source_pod,
            namespace=settings.source_namespace,
            node=settings.source_node,
            container=settings.source_container,
            infertap_version=infertap.__version__,
        )
        return Forwarder(
            self._spool,
            _way_to_storage(settings),
            hello,
            in_flight=self._in_flight,
            calls=self._account_of_calls,
        )

    def _account_of_calls(self) -> dict[str, int]:
        relays = [self._page.relay(slot).values() for slot in range(self._page.slots)]
        return terms(draw_up(relays, self._page.recorder().values()))

    def _api(self, forwarder: Forwarder | None) -> Api:
        def resent() -> None:
            if forwarder is not None:
                forwarder.wake()

        listen, files = self._settings.api_listen, _api_files(self._settings)
        return Api(self._spool, self._in_flight, listen, files, resent=resent)

    def _begin(self, forwarder: Forwarder | None, api: Api) -> None:
        self._start("api", self._serve(api))
        self._start("reader check", self._check_readers())
        if forwarder is not None:
            self._start("forwarder", forwarder.run())
            self._start("status", self._show(forwarder, self._page.recorder()))

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._look_after)
        self._tasks[name] = task

    def _look_after(self, task: asyncio.Task[None]) -> None:
        """A part that fails would be missed by nobody: end, and be started again."""
        if not task.cancelled() and (fault := task.exception()) is not None:
            log_event("recorder", "failed", part=task.get_name(), fault=type(fault).__name__)
            self._failed = True
            self._stop.set()

    async def _end(self, forwarder: Forwarder | None, end_by: float) -> None:
        seconds = max(end_by - asyncio.get_running_loop().time(), 0.0)
        if forwarder is not None and not (self._failed or await forwarder.drain(seconds)):
            log_event("recorder", "not all is sent: the rest waits in the spool")
        for task in self._tasks.values():
            if not task.cancelling():  # the API's may be ending already
                task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    # -- what ends a recorder

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # blocked by the parent until now
        # A terminal's Ctrl-C reaches the whole group; the parent decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        loop.add_reader(self._inheritance.lifeline, self._parent_is_gone)

    def _parent_is_gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._inheritance.lifeline)
        log_event("recorder", "parent is gone")
        self._end_seconds = _ORPHAN_SECONDS
        self._tasks["api"].cancel()
        self._stop.set()

    # -- beside the pipeline

    async def _serve(self, api: Api) -> None:
        while True:
            try:
                await api.serve()
            except CannotServeError as error:
                log_event("recorder", "API can't be served: tried again", why=str(error))
            await asyncio.sleep(_API_AGAIN_SECONDS)

    async def _check_readers(self) -> None:
        while True:
            await asyncio.sleep(_READER_CHECK_SECONDS)
            await asyncio.to_thread(self._spool.check_readers)

    async def _show(self, forwarder: Forwarder, row: Row) -> None:
        while True:
            status = forwarder.status
            row["storage_connected"] = int(status.connected)
            row["storage_batches_sent"] = status.batches_sent
            row["storage_reconnects"] = status.reconnects
            await asyncio.sleep(_SHOW_SECONDS)


def _way_to_storage(settings: Settings) -> Connection:
    return Connection(
        str(settings.storage),
        ca_file=settings.storage_ca_file,
        cert_file=settings.storage_cert_file,
        key_file=settings.storage_key_file,
        server_name=settings.storage_server_name,
        token_file=settings.storage_token_file,
        is_protected=settings.insecure,
    )


def _api_files(settings: Settings) -> ApiFiles:
    server = None
    if settings.api_cert_file and settings.api_key_file:
        server = ServerFiles(settings.api_cert_file, settings.api_key_file)
    return ApiFiles(server, settings.api_identities_file)


def open_spool(settings: Settings) -> Spool:
    """The spool that the settings name; waits for a dying predecessor to let go of it. Raises SpoolError."""
    waited = 0.0
    pause = threading.Event()
    while True:
        try:
            return Spool.open(Path(settings.spool_dir), settings.spool_bytes, ring=settings.storage is None)
        except SpoolLocked:
            if waited >= _LOCKED_SECONDS:
                raise
            pause.wait(0.1)
            waited += 0.1


def run(settings: Settings, inheritance: Inheritance) -> bool:
    """Run a recorder to its end, in this process; False where it failed.

    Raises SpoolError where there is no spool to be had, HashKeyError, RulesFileError, DescriptorSetError.
    """
    limit_process(settings)
    spool = open_spool(settings)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(Recorder(settings, inheritance, spool).run())
    finally:
        spool.close()
