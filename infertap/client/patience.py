"""Patience: how often something is asked again, and when it is given up. The clock is an argument.

Only what may be asked twice is: reads, and feedback, whose pieces have ids. Asked again is what failed
because nobody was there (UNAVAILABLE), of an export also where others wait already (RESOURCE_EXHAUSTED):
after 0.1 s, 0.2 s, 0.4 s, ..., each up to a half shorter so that clients of one storage don't come
back together; never beyond the deadline.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import grpc

_FIRST_SECONDS: Final = 0.1
_LONGEST_SECONDS: Final = 5.0
_PASSING: Final = frozenset({grpc.StatusCode.UNAVAILABLE})
_OF_EXPORTS: Final = _PASSING | {grpc.StatusCode.RESOURCE_EXHAUSTED}


@dataclass(frozen=True, slots=True)
class Patience:
    """`attempts` in all, within `deadline_seconds`."""

    attempts: int = 4
    deadline_seconds: float = 30.0

    def begin(
        self, now: float, share: Callable[[], float] = random.random, *, is_export: bool = False
    ) -> "Trying":
        """Something is asked for the first time."""
        return Trying(self, now, share, _OF_EXPORTS if is_export else _PASSING)


class Trying:
    """One thing that is asked for, again and again if need be."""

    def __init__(
        self,
        patience: Patience,
        now: float,
        share: Callable[[], float],
        passing: frozenset[grpc.StatusCode],
    ) -> None:
        """`share` draws from 0 to 1; `passing` is what may be over when it is asked again."""
        self._passing = passing
        self._patience = patience
        self._deadline = now + patience.deadline_seconds
        self._share = share
        self._failed = 0

    def left(self, now: float) -> float:
        """Seconds until the deadline, for the next attempt."""
        return max(self._deadline - now, 0.0)

    def progressed(self, now: float) -> None:
        """Something came: failures count anew, and so does the time."""
        self._failed = 0
        self._deadline = now + self._patience.deadline_seconds

    def pause(self, code: grpc.StatusCode, now: float) -> float | None:
        """It failed: seconds to wait before the next attempt; None where there is none."""
        self._failed += 1
        if code not in self._passing or self._failed >= self._patience.attempts:
            return None
        longest = min(_FIRST_SECONDS * 2 ** (self._failed - 1), _LONGEST_SECONDS)
        pause = longest * (1 - self._share() / 2)
        return pause if pause < self.left(now) else None
