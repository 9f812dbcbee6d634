"""Window: which batches are under way on one connection. Pure; times are arguments, in seconds.

It bounds what is unacknowledged, and knows since when storage owes an answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

Range = tuple[int, int]

MAX_BATCHES: Final = 4


@dataclass(slots=True)
class _Batch:
    sent_at: float
    # What of it is neither acknowledged nor rejected: ranges of entries, both ends inclusive.
    open: list[Range]


class Window:
    """Batches sent and not yet settled, in the order they were sent."""

    def __init__(self) -> None:
        """Nothing is under way."""
        self._batches: list[_Batch] = []
        self._settled_at = 0.0

    @property
    def is_empty(self) -> bool:
        """Everything that was sent is settled."""
        return not self._batches

    @property
    def has_room(self) -> bool:
        """Another batch may be sent."""
        return len(self._batches) < MAX_BATCHES

    @property
    def under_way(self) -> list[Range]:
        """What was sent and is not settled."""
        return [entry for batch in self._batches for entry in batch.open]

    @property
    def waiting_since(self) -> float | None:
        """When storage last gave a sign of progress while something was under way; None with nothing."""
        return max(self._batches[0].sent_at, self._settled_at) if self._batches else None

    def sent(self, entries: Sequence[Range], now: float) -> None:
        """A batch of these entries is on its way."""
        self._batches.append(_Batch(now, list(entries)))

    def acked(self, ranges: Sequence[Range], now: float) -> None:
        """Storage has these sequences."""
        for batch in self._batches:
            for first, last in ranges:
                batch.open = [part for entry in batch.open for part in _without(entry, first, last)]
        self._progressed(now)

    def rejected(self, sequence: int, now: float) -> None:
        """Storage refuses the entry with this sequence: all of it is settled, also when it is a gap."""
        for batch in self._batches:
            batch.open = [entry for entry in batch.open if not entry[0] <= sequence <= entry[1]]
        self._progressed(now)

    def _progressed(self, now: float) -> None:
        self._settled_at = now
        self._batches = [batch for batch in self._batches if batch.open]


def _without(entry: Range, first: int, last: int) -> list[Range]:
    """What of an entry's range is outside `first` to `last`."""
    if last < entry[0] or entry[1] < first:
        return [entry]
    return [part for part in ((entry[0], first - 1), (last + 1, entry[1])) if part[0] <= part[1]]
