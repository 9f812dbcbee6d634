"""Backoff: how long to wait before the next attempt. Pure.

Exponential with full jitter, so that many sidecars do not come back to a storage in step. It never gives up.
"""

from typing import Final

FIRST_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 30.0
# 0.1 s × 2⁹ is beyond the longest.
_MOST_DOUBLINGS: Final = 9


class Backoff:
    """Counts failures in a row."""

    def __init__(self) -> None:
        """None yet."""
        self._failures = 0

    def failed(self, fraction: float) -> float:
        """One more failure: seconds to wait, `fraction` (random, 0 to 1) of the longest wait that is due."""
        longest = min(LONGEST_SECONDS, FIRST_SECONDS * float(1 << min(self._failures, _MOST_DOUBLINGS)))
        self._failures += 1
        return longest * fraction

    def succeeded(self) -> None:
        """Storage acknowledged something: start over with the shortest wait."""
        self._failures = 0
