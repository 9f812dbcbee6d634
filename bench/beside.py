"""Beside: what a saturated recorder costs the latency of a relay that has a core of its own.

The relay's real process is alone on core 0. On core 1 are load, upstream and a recorder of two slots, which
gives way to both as it does in a sidecar (idle time only). Where that is allowed relay, load and upstream run
at real-time priority: the relay has its core, whoever else is on the machine, and load and upstream, which
stand for other machines, do not wait for the core that they share.

Slot 0 is the relay's. In slot 1 a second relay is played by a process that hands over streams without end, so
that the recorder has all it can do; while that process is stopped the recorder has the relay's own calls and
no more. The relay does the same in both: it takes calls of 1 KiB at a fixed rate far below what it could, and
hands all of them over. Latency counts from when a call was due.

Rounds come in pairs, idle and saturated, every second pair the other way round; the ratio of p99 is the
median of the pairs' ratios, as a machine that drifts meets both alike. The same is measured without the relay
(`direct`): what its ratio shows is not the relay's.
"""

import asyncio
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, cast

import uvloop

from bench.load import Figures, h1_open
from bench.load.measuring import LOAD_CORE
from bench.processes import stopped
from sidecar import config
from sidecar.counters import CounterPage
from sidecar.recorder.process import limit_process

SCENARIO: Final = "relay_beside_recorder"
# Calls a second: a fortieth of what the relay can do.
RATE: Final = 1000.0
_RELAY_CORE: Final = 0
_RUN_ID: Final = bytes(range(16))
_READY_SECONDS: Final = 20.0
_SETTLE_SECONDS: Final = 0.3
_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n" + b"b" * 1024
_ASKED_BYTES: Final = 1024

# Runs a pipeline on the recorder's ends of the pairs until its process is ended.
RunPipeline = Callable[[Sequence[socket.socket], CounterPage, Path], None]
# Hands over calls without end.
Send = Callable[[socket.socket], None]


def beside(pairs: int, seconds: float, run_pipeline: RunPipeline, send: Send) -> dict[str, list[Figures]]:
    """The figures of each pair of rounds, of the relay (`infertap`) and without it (`direct`)."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="infertap-bench-")))
            ports = {"direct": stack.enter_context(_upstream())}
            page = CounterPage.create(2)
            handoffs = [tuple(map(stack.enter_context, _pair())) for _ in range(page.slots)]
            ends = [recorder for _, recorder in handoffs]
            stack.enter_context(_recorder(lambda: run_pipeline(ends, page, directory)))
            sender = stack.enter_context(_forked(lambda: _send_idly(send, handoffs[1][0])))
            ports["infertap"] = stack.enter_context(_relay(page, handoffs[0][0], ports["direct"]))
            return _rounds(pairs, seconds, ports, sender)
    finally:
        os.sched_setaffinity(0, ours)


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _rounds(
    pairs: int, seconds: float, ports: dict[str, int], sender: BaseProcess
) -> dict[str, list[Figures]]:
    assert sender.pid is not None
    found: dict[str, list[Figures]] = {name: [] for name in ports}

    def idle(port: int) -> Figures:
        with stopped(cast(int, sender.pid)):
            return saturated(port)

    def saturated(port: int) -> Figures:
        time.sleep(_SETTLE_SECONDS)  # what waits in the socket is done, or the socket is full
        with _at_once():
            return h1_open(port, seconds, RATE)

    for number in range(pairs):
        for name, port in ports.items():
            if number % 2:
                busy, alone = saturated(port), idle(port)
            else:
                alone, busy = idle(port), saturated(port)
            found[name].append(
                {
                    **{metric: busy[metric] for metric in ("p50_us", "p99_us")},
                    **{f"{name}_idle_us": alone[f"{name}_us"] for name in ("p50", "p99")},
                    "p99_ratio": busy["p99_us"] / alone["p99_us"],
                }
            )
    return found


# -- who takes part


@contextmanager
def _at_once() -> Iterator[None]:
    """Run whenever there is something to do (sched(7), SCHED_FIFO), where that is allowed."""
    _put_first(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _put_first(pid: int) -> None:
    with suppress(OSError):
        os.sched_setscheduler(pid, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))


@contextmanager
def _forked(work: Callable[[], None]) -> Iterator[BaseProcess]:
    process = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


@contextmanager
def _recorder(work: Callable[[], None]) -> Iterator[BaseProcess]:
    """On the load core, as it inherits; giving way as in a sidecar."""

    def run() -> None:
        limit_process(config.read({}))
        work()

    with _forked(run) as process:
        yield process


def _send_idly(send: Send, sock: socket.socket) -> None:
    """It, too, takes only time that nobody else wants."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    send(sock)


@contextmanager
def _relay(page: CounterPage, handoff: socket.socket, upstream: int) -> Iterator[int]:
    """The relay's process, started as the parent starts it; its port."""
    lifeline, ours = os.pipe()
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        port = int(listener.getsockname()[1])
        passed = (page.descriptor, handoff.fileno(), listener.fileno(), lifeline)
        arguments = [
            *("--slot", "0", "--slots", "2", "--run-id", _RUN_ID.hex(), "--counters-fd", str(passed[0])),
            *("--handoff-fd", str(passed[1]), "--listen-fds", str(passed[2]), "--lifeline-fd", str(lifeline)),
        ]
        process = subprocess.Popen(
            ["taskset", "-c", str(_RELAY_CORE), sys.executable, "-m", "sidecar.relay", *arguments],
            env=os.environ | {"INFERTAP_UPSTREAM": f"127.0.0.1:{upstream}", "INFERTAP_LISTEN": "127.0.0.1:0"},
            pass_fds=passed,
            stderr=subprocess.DEVNULL,
        )
    try:
        _await_answer(port)
        _put_first(process.pid)
        yield port
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(lifeline)
        os.close(ours)


def _await_answer(port: int) -> None:
    until = time.monotonic() + _READY_SECONDS
    while True:
        try:
            h1_open(port, 0.05, 200.0)
        except Exception:
            if time.monotonic() > until:
                raise
        else:
            return


@contextmanager
def _upstream() -> Iterator[int]:
    """A model that answers 1 KiB with 1 KiB at once, in a process on the load core; its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        port = int(listener.getsockname()[1])
        with _forked(lambda: _be_upstream(listener)):
            yield port


def _be_upstream(listener: socket.socket) -> None:
    with _at_once():
        uvloop.run(_serve(listener))


class _Model(asyncio.Protocol):
    """Answers a request once its body is there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        _, blank, body = self._received.partition(b"\r\n\r\n")
        if blank and len(body) >= _ASKED_BYTES:
            self._received = body[_ASKED_BYTES:]
            self._transport.write(_ANSWER)


async def _serve(listener: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(_Model, sock=listener)
    await server.serve_forever()
