"""Stretches: of how many separate ranges what a spool has sent consists, as far as one stream tells. Pure.

Each takes memory for as long as there is the archive. A spool sends one sequence after the other, so there
are few; who leaves very many holes is not let make more.
"""

from collections.abc import Sequence
from typing import Final

from storage.archive import Range

MOST_STRETCHES: Final = 100_000


class Stretches:
    """One stream's estimate, which is never too low."""

    def __init__(self, received: Sequence[Range]) -> None:
        self.count = len(received)
        self._end = received[-1][1] if received else 0

    def add(self, ranges: Sequence[Range]) -> None:
        """These come, ascending or not."""
        for first, last in ranges:
            if first != self._end + 1:
                self.count += 1
            self._end = last

    def recounted(self, count: int) -> None:
        """There are really so many."""
        self.count = count

    @property
    def are_too_many(self) -> bool:
        """Whether it is time to count what there really is."""
        return self.count > MOST_STRETCHES
