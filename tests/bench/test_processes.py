"""Processes that the benchmark starts and watches."""

import os
import sys
from pathlib import Path

import pytest

from bench.processes import (
    StartError,
    await_ports,
    cpu_us,
    free_port,
    memory_mib,
    pin,
    started,
    stopped,
    with_descendants,
)

PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
CHILD = "import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(60)"


def test_family(tmp_path: Path) -> None:
    """A process counts with its descendants, can be moved and stopped, and ends with its context."""
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-c", PARENT.format(child=CHILD.format(port=port))]
    with started(command, 0, log) as process:
        await_ports(process, log, [port])
        family = with_descendants([process.pid])
        assert len(family) == 2
        assert memory_mib([process.pid], "VmRSS") > memory_mib(family - {process.pid}, "VmRSS") > 1
        assert cpu_us([process.pid]) > 0
        core = max(os.sched_getaffinity(0))
        pin([process.pid], core)
        assert all(os.sched_getaffinity(pid) == {core} for pid in family)
        (child,) = family - {process.pid}
        with stopped(child):
            assert state(child) == "T"
        assert state(child) != "T"
        os.kill(child, 15)
    assert process.returncode is not None
    assert with_descendants([process.pid]) == set()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_no_start(tmp_path: Path) -> None:
    """A process that ends instead of listening is told of with what it said."""
    log = tmp_path / "log"
    with (
        started([sys.executable, "-c", "print('no licence')"], 0, log) as process,
        pytest.raises(StartError, match="no licence"),
    ):
        await_ports(process, log, [free_port()])


def test_ports() -> None:
    """No port is given twice."""
    assert len({free_port() for _ in range(50)}) == 50
