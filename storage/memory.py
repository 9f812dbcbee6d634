"""Memory: how much of what this process may have it has taken. Touches /proc and /sys/fs/cgroup.

What comes in part on very many streams is nowhere to be seen but here. Where nothing limits the process, or
the system does not say, there is no shortage.
"""

from pathlib import Path
from typing import Final

# Control groups, version 2 and 1, as a container sees its own (Linux, admin-guide/cgroup-v2.rst).
_LIMITS: Final = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")
_STATUS: Final = "proc/self/status"
# Of the limit; the kernel ends the process at all of it.
_SHORT: Final = 0.85
# Beyond, it is version 1's way to say that there is none.
_NO_LIMIT: Final = 1 << 60


class Memory:
    """One process's memory."""

    def __init__(self, root: Path = Path("/")) -> None:
        """`root` is where the system's files are."""
        self._status = root / _STATUS
        limits = [_read_limit(root / each) for each in _LIMITS]
        self._limit = min((each for each in limits if each), default=None)

    @property
    def is_short(self) -> bool:
        """Whether the end is near."""
        if self._limit is None:
            return False
        try:
            lines = self._status.read_text().splitlines()
            # Of the process's own: pages of files can be taken away.
            kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
        except (OSError, ValueError, StopIteration):
            return False
        return kilobytes << 10 > self._limit * _SHORT


def _read_limit(path: Path) -> int | None:
    try:
        limit = int(path.read_text())
    except (OSError, ValueError):  # "max"
        return None
    return limit if limit < _NO_LIMIT else None
