"""Sparing: lines of the event log that a sidecar can cause, so many in a time; the rest is counted.

Pure but for the clock and the log that are handed in; safe from any thread.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

Say = Callable[..., None]
# Subjects that are told apart at a time; what all others cause is counted together.
_MOST: Final = 1000


@dataclass(slots=True)
class _Told:
    since: float
    lines: int = 0
    untold: int = 0


class SparingLog:
    """At most `most` lines for each subject in `seconds`, and one that says how many there were besides."""

    def __init__(
        self, say: Say, event: str, clock: Callable[[], float], most: int = 10, seconds: float = 60.0
    ) -> None:
        """`event` is what all lines are about; `clock` tells seconds."""
        self._say = say
        self._event = event
        self._clock = clock
        self._most = most
        self._seconds = seconds
        self._lock = threading.Lock()
        # The longest known first.
        self._told: dict[str, _Told] = {}

    def tell(self, subject: str, **facts: object) -> None:
        """Write one line about `subject`, or count it."""
        self.flush()
        with self._lock:
            name = subject if subject in self._told or len(self._told) < _MOST else "others"
            told = self._told.setdefault(name, _Told(self._clock()))
            is_told = told.lines < self._most
            told.lines += is_told
            told.untold += not is_told
        if is_told:
            self._say(self._event, **facts)

    def flush(self) -> None:
        """Say how many were left out, of the subjects whose time is over; call it now and then."""
        over: list[tuple[str, int]] = []
        with self._lock:
            for subject, told in list(self._told.items()):
                if self._clock() - told.since < self._seconds:
                    break
                del self._told[subject]
                if told.untold:
                    over.append((subject, told.untold))
        for subject, untold in over:
            self._say(f"{self._event}: more of the same", subject=subject, untold=untold)
