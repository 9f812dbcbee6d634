"""Extents in the DuckDB engine: between which times the calls of each file of records started, so that files
which can have nothing of a page are not asked for it. A statement costs a millisecond for each file in it.

An extent covers at least what is in the file: what was there when it was first asked for, which the engine
tells from its statistics, and whatever this run has been about to write to it.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb

from infertap.query import Query


@dataclass(frozen=True, slots=True)
class Extent:
    """From the earliest start to the latest, both inclusive, in nanoseconds since the epoch."""

    first_ns: int
    last_ns: int

    @property
    def width_ns(self) -> int:
        """How long it is; 0 where there is nothing."""
        return max(self.last_ns - self.first_ns + 1, 0)

    def with_(self, other: "Extent") -> "Extent":
        """What covers both."""
        return Extent(min(self.first_ns, other.first_ns), max(self.last_ns, other.last_ns))

    def within(self, other: "Extent") -> "Extent":
        """What both cover; NOWHERE if nothing."""
        both = Extent(max(self.first_ns, other.first_ns), min(self.last_ns, other.last_ns))
        return both if both.width_ns else NOWHERE

    def meets(self, other: "Extent") -> bool:
        """Whether both cover something."""
        return self.within(other) != NOWHERE


# Whatever a column may hold; what a file covers that has no record.
EVER: Final = Extent(-1 << 63, (1 << 63) - 1)
NOWHERE: Final = Extent(EVER.last_ns, EVER.first_ns)


def asked_for(query: Query) -> Extent:
    """Between which times the calls started that a query is about."""
    first = EVER.first_ns if query.start_ns is None else query.start_ns
    return Extent(first, EVER.last_ns if query.end_ns is None else query.end_ns - 1)


class Extents:
    """Of all files, by what they are attached as. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._there: dict[str, Extent] = {}
        self._written: dict[str, Extent] = {}

    def widen(self, part: str, starts: Sequence[int]) -> None:
        """Calls that started at these times are about to be written."""
        more = Extent(min(starts), max(starts))
        with self._lock:
            self._written[part] = self._written.get(part, NOWHERE).with_(more)

    def forget(self, part: str) -> None:
        """Nobody reads or writes that file any more."""
        with self._lock:
            self._there.pop(part, None)
            self._written.pop(part, None)

    def of(self, cursor: "duckdb.DuckDBPyConnection", parts: Sequence[str]) -> list[Extent]:
        """Of each of these: all that is committed by now. Raises duckdb.Error."""
        # In this order: what is committed after the first is in the second.
        there = [self._there.get(part) or self._look(cursor, part) for part in parts]
        with self._lock:
            written = [self._written.get(part, NOWHERE) for part in parts]
        return [one.with_(other) for one, other in zip(there, written, strict=True)]

    def _look(self, cursor: "duckdb.DuckDBPyConnection", part: str) -> Extent:
        row: Any = cursor.execute(f"SELECT min(start_ns), max(start_ns) FROM {part}.records").fetchone()  # noqa: S608
        found = NOWHERE if row[0] is None else Extent(*row)
        with self._lock:
            self._there[part] = found
        return found
