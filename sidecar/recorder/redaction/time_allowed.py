"""Time allowed: how much of the processor's time the redaction of one text may take.

Touches a clock. Patterns take time linear in the text, but two hundred rules of a site's own, on a body of
many megabytes, may still take long, and meanwhile nothing else is recorded. The time is this thread's own, so
that a busy machine withholds nothing. It is asked for between patterns, and within one after many matches.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

# For any text, and more for each byte of it. Most take a hundredth of that.
SECONDS: Final = 2.0
SECONDS_A_BYTE: Final = 1 / (4 << 20)
# Bytes looked at between two looks at the clock, which is a system call; a short text counts as so many.
_BYTES_A_LOOK: Final = 256 << 10
_LEAST: Final = 64


class OverTimeError(Exception):
    """The time allowed is over."""


class TimeAllowed(threading.local):
    """What is left of the time allowed, for each thread that redacts. Without a beginning there is no end."""

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._seconds = float("inf")
        self._until: float | None = None
        self._looked_at = 0

    def begin(self, size: int) -> None:
        """From here on a text of `size` bytes is redacted; the clock runs from the first look at it."""
        self._seconds = SECONDS + size * SECONDS_A_BYTE
        self._until = None
        self._looked_at = 0

    def spend(self, size: int) -> None:
        """So many bytes are to be looked at; raises OverTimeError where no time is left for that."""
        self._looked_at += size + _LEAST
        if self._looked_at < _BYTES_A_LOOK:
            return
        self._looked_at = 0
        now = self._clock()
        if self._until is None:
            self._until = now + self._seconds
        elif now > self._until:
            raise OverTimeError
