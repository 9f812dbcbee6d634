"""Processes: started on a core, watched, stopped for a while, ended. Touches /proc, signals, loopback ports.

It promises that what it started has ended when its context is left, and that CPU and memory are those of a
process with all its descendants.
"""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_READY_SECONDS: Final = 30.0
_END_SECONDS: Final = 30.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
# Below the ports that outgoing connections take (ip_local_port_range), so that none of those is in the way.
_PORTS: Final = range(16_000, 32_000)
# None is given twice.
_NEXT_PORTS: Final = iter(random.sample(_PORTS, len(_PORTS)))


class StartError(Exception):
    """A process does not come up; the message is the end of what it said."""


@contextmanager
def started(
    command: list[str], core: int | str, log: Path, environ: Mapping[str, str] | None = None
) -> "Iterator[subprocess.Popen[bytes]]":
    """A process on `core`, or on "0,1"; in this session: a group of its own would void niceness."""
    with log.open("wb") as out:
        pinned = ["taskset", "-c", str(core), *command]
        process = subprocess.Popen(pinned, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """A loopback port that nobody uses now."""
    for port in _NEXT_PORTS:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no free ports")


def await_ports(process: "subprocess.Popen[bytes]", log: Path, ports: Iterable[int]) -> None:
    """Wait until it listens on each; StartError where it ends before, or needs more than 30 seconds."""
    until = time.monotonic() + _READY_SECONDS
    for port in ports:
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            if process.poll() is not None or time.monotonic() > until:
                raise StartError(f"does not listen: {log.read_text(errors='replace').strip()[-300:]}")
            time.sleep(0.02)


def with_descendants(pids: Iterable[int]) -> set[int]:
    """The processes that live, and theirs."""
    found: set[int] = set()
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
            found.add(pid)
    return found


def cpu_us(pids: Iterable[int]) -> float:
    """CPU time that the processes have had until now (proc(5), utime and stime)."""
    total = 0
    for pid in with_descendants(pids):
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total * 1e6 / _TICKS


def memory_mib(pids: Iterable[int], field: str) -> float:
    """A field of /proc/PID/status, as VmRSS, VmHWM or RssAnon, summed over the processes.

    Pages that several share, as libraries, count once for each.
    """
    total = 0
    for pid in with_descendants(pids):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(f"{field}:"):
                    total += int(line.split()[1])
    return total / 1024


def forget_peaks(pids: Iterable[int]) -> None:
    """Let VmHWM begin anew (proc(5), clear_refs)."""
    for pid in with_descendants(pids):
        with suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def pin(pids: Iterable[int], core: int) -> None:
    """Move the processes, with their threads and descendants, to a core."""
    for pid in with_descendants(pids):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                os.sched_setaffinity(int(task.name), {core})


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """SIGSTOP, and SIGCONT at the end; returns once the process stands still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        while _state(pid) != "T":
            time.sleep(0.001)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
