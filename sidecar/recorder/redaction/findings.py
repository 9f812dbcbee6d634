"""Findings: what was masked, by class and place. Never the value."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

from sidecar.recorder.redaction.spans import Span

_kind = attrgetter("kind")


@dataclass(frozen=True, slots=True)
class Finding:
    """So many of one class in one place: "body", "path", "query", "header:cookie", …"""

    kind: str
    where: str
    count: int


class Findings:
    """Counts findings while a record is being made."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, kind: str, where: str) -> None:
        """One more of class `kind` in `where`."""
        self._counts[kind, where] += 1

    def add_spans(self, spans: Iterable[Span], where: str) -> None:
        """One more for each of `spans`."""
        for kind, count in Counter(map(_kind, spans)).items():
            self._counts[kind, where] += count

    def add_all(self, others: "Findings") -> None:
        """Those of `others` too."""
        self._counts.update(others._counts)

    @property
    def total(self) -> int:
        return self._counts.total()

    def listed(self) -> list[Finding]:
        """All of them, in the order of finding."""
        return [Finding(kind, where, count) for (kind, where), count in self._counts.items()]
