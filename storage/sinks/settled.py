"""Settled: which records of a batch are done with, so that a batch tried again sends only the others. Pure.

Kept in memory alone: after a crash the whole batch is sent again, which consumers see by the record's id.
"""

from collections.abc import Iterable, Sequence

from storage.sinks.interface import Batch, Refused


class Settled:
    """What became of the records of the one batch that is under way."""

    def __init__(self) -> None:
        self._of = ""
        self._arrived: set[int] = set()
        self._refused: dict[int, str] = {}

    def left_of(self, batch: Batch) -> Sequence[int]:
        """The indexes of those in `batch` that nothing is known of. Another batch begins anew."""
        of = f"{batch.number} {batch.digest}"
        if of != self._of:
            self._of, self._arrived, self._refused = of, set(), {}
        return [each for each in range(len(batch.records)) if not self._is_settled(each)]

    def arrive(self, indexes: Iterable[int]) -> None:
        """These are there for good."""
        self._arrived.update(indexes)

    def refuse(self, refused: Iterable[Refused]) -> None:
        """These will never be."""
        self._refused.update((each.index, each.reason) for each in refused)

    @property
    def refused(self) -> Sequence[Refused]:
        """All those that will never be."""
        return [Refused(index, self._refused[index]) for index in sorted(self._refused)]

    def _is_settled(self, index: int) -> bool:
        return index in self._arrived or index in self._refused
