"""Memory: the bound of a relay's own memory, and giving back what it no longer needs.

Touches the C library's allocator, the collector and /proc/self/statm. It promises: one arena for the whole
process, so that freed memory is found again; and that after a peak, once few bytes pass, what is free goes
back to the kernel (malloc_trim releases free pages inside the heap too). Python's own arenas go back only
when nothing at all is left in them: what is remembered for speed is therefore given up first, and the
interpreter's lists of free objects, which only a full collection empties.

What a relay may hold (RssAnon), whatever comes:

      BARE_BYTES                          interpreter, code, uvloop
    + INFERTAP_CAPTURE_BUDGET_BYTES       bodies of open calls, and calls on their way to the recorder
    + INFERTAP_STATE_BUDGET_BYTES         unfinished heads, header tables, heads of open calls
    + UNSENT_BYTES                        the first peers that read slower than they are written to
    + connections × CONNECTION_BYTES      at most INFERTAP_MAX_CONNECTIONS of them: their objects, and what
                                          slow readers leave unsent once UNSENT_BYTES are used up
"""

import ctypes
import gc
import os
from typing import Final

from sidecar.config import Settings
from sidecar.relay.flow_control import UNSENT_BYTES
from sidecar.tap import forget_remembered

BARE_BYTES: Final = 64 << 20
CONNECTION_BYTES: Final = 128 << 10

_M_ARENA_MAX: Final = -8
# The resident set must have grown by so much since the last look for a trim to be worth its while.
_GROWN_BYTES: Final = 16 << 20
# A round in which fewer bytes passed is quiet: a trim takes a few milliseconds for 100 MiB.
_QUIET_BYTES: Final = 4 << 20
# Rounds after which it is done once more: connections may have been closing still.
_AGAIN: Final = (1, 5, 25)
# A collection looks at each object of the open calls: with more of them it would be felt.
_FEW_CALLS: Final = 5000
_PAGE_BYTES: Final = os.sysconf("SC_PAGESIZE")


def bound_bytes(settings: Settings) -> int:
    """What one relay may hold at most."""
    return (
        BARE_BYTES
        + settings.capture_budget_bytes
        + settings.state_budget_bytes
        + UNSENT_BYTES
        + settings.max_connections * CONNECTION_BYTES
    )


def resident_bytes() -> int:
    """What this process holds in memory that is its own (proc(5), statm: resident less shared)."""
    with open("/proc/self/statm", "rb") as statm:
        _, resident, shared, *_ = statm.read().split()
    return (int(resident) - int(shared)) * _PAGE_BYTES


class Allocator:
    """The C library's malloc, where it is glibc's; with any other nothing happens."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        self._trim = getattr(libc, "malloc_trim", None)
        if self._trim is not None:
            libc.mallopt(_M_ARENA_MAX, 1)
        self._after_trim = resident_bytes()
        self._bytes_passed = 0
        # Quiet rounds since the latest peak was given back.
        self._rounds = 0

    def look(self, bytes_passed: int, open_calls: int) -> None:
        """Called after each round with the relay's counts: trims after a peak, in a quiet moment."""
        passed, self._bytes_passed = bytes_passed - self._bytes_passed, bytes_passed
        if self._trim is None or passed > _QUIET_BYTES or open_calls > _FEW_CALLS:
            return
        self._rounds += 1
        if resident_bytes() > self._after_trim + _GROWN_BYTES:
            self._rounds = 0
        elif self._rounds not in _AGAIN:
            return
        forget_remembered()
        gc.collect()
        self._trim(0)
        self._after_trim = resident_bytes()
