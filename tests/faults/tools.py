"""Tools: outside programs that faults are made with, or the reason why a test is skipped."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_PRELOADED = ("fiu_run_preload.so", "fiu_posix_preload.so")
_PLACES = (Path("/usr/lib/fiu"), Path("/usr/local/lib/fiu"))


def require(tool: str) -> str:
    """The tool's path; skips the test where it is not installed."""
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"needs {tool}")
    return path


def require_root() -> None:
    """Skips the test for others."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


def under_time(offset: str) -> tuple[str, ...]:
    """To run a command whose wall clock is off ("+7d", "-1h"); its monotonic clock goes on."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        pytest.skip("needs libfaketime")
    return ("env", f"LD_PRELOAD={found[0]}", f"FAKETIME={offset}", "DONT_FAKE_MONOTONIC=1")


class FaultInjection:
    """libfiu in a process and its children: failing system calls, switched on and off from outside."""

    def __init__(self, directory: Path) -> None:
        """`directory` is where the control pipes are made."""
        require("fiu-ctrl")
        libraries = [place / name for place in _PLACES for name in _PRELOADED if (place / name).exists()]
        if len(libraries) < len(_PRELOADED):
            pytest.skip("needs libfiu's preloaded libraries")
        self._fifo = directory / "fiu"
        # To run a command with the libraries loaded; a full path, or each child would look for them.
        self.under = (
            "env",
            f"LD_PRELOAD={':'.join(map(str, libraries))}",
            f"FIU_CTRL_FIFO={self._fifo}",
        )

    def enable(self, pid: int, point: str, probability: float = 1.0, errno: int = 5) -> None:
        """Let calls of this point fail so often (errno 5: EIO)."""
        self._tell(pid, f"enable_random name={point},probability={probability},failinfo={errno}")

    def disable(self, pid: int, point: str) -> None:
        """Let them succeed again."""
        self._tell(pid, f"disable name={point}")

    def _tell(self, pid: int, command: str) -> None:
        subprocess.run(
            ["fiu-ctrl", "-f", str(self._fifo), "-c", command, str(pid)],
            check=True,
            capture_output=True,
            timeout=30,
        )
