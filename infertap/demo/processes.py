"""Processes: starts what the demo shows, waits until it is ready, and ends it.

Touches processes, their logs and loopback ports. It promises that nothing outlives the demo, however that
ends: children are told to end by the kernel when their parent dies (prctl(2), PR_SET_PDEATHSIG).
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

_READY_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05
_END_SECONDS: Final = 15.0
_PR_SET_PDEATHSIG: Final = 1


class DemoError(Exception):
    """The demo can't go on; the message says why and where to look."""


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@dataclass
class Started:
    """One process and its log."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def event(self, name: str) -> dict[str, Any]:
        """The process' event of that name, awaited; raises DemoError."""
        until = time.monotonic() + _READY_SECONDS
        while time.monotonic() < until:
            # What follows the last line's end may be half a line.
            for line in self.log.read_text(errors="replace").split("\n")[:-1]:
                if line.startswith("{") and f'"{name}"' in line:
                    return dict(json.loads(line))
            self.check()
            time.sleep(_POLL_SECONDS)
        raise DemoError(f"{self.name} does not start; see {self.log}")

    def answers(self, url: str) -> None:
        """Wait until `url` answers 200; raises DemoError."""
        until = time.monotonic() + _READY_SECONDS
        while time.monotonic() < until:
            self.check()
            try:
                with urllib.request.urlopen(url, timeout=1):  # noqa: S310  (a loopback address of ours)
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(_POLL_SECONDS)
        raise DemoError(f"{self.name} does not answer at {url}; see {self.log}")

    def check(self) -> None:
        """Raises DemoError where the process has ended."""
        if self.process.poll() is not None:
            last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
            said = f": {last[0]}" if last else ""
            raise DemoError(f"{self.name} ended with status {self.process.returncode}{said}; see {self.log}")


@dataclass
class Processes:
    """All that the demo has started, in order."""

    directory: Path
    started: list[Started] = field(default_factory=list)

    def start(self, name: str, arguments: list[str], environ: Mapping[str, str]) -> Started:
        """Start `python ARGUMENTS`; what it prints goes to its log."""
        log = self.directory / f"{name}.log"
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("INFERTAP_")}
        with log.open("wb") as out:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, *arguments],
                env=inherited | dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509  (the demo has one thread)
            )
        self.started.append(Started(name, process, log))
        return self.started[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End them, the last first, so that each can hand on what it holds."""
        for each in reversed(self.started):
            if each.process.poll() is None:
                each.process.send_signal(signal.SIGTERM)
            try:
                each.process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(each.process.pid, signal.SIGKILL)
                each.process.wait()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
