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


@dataclass(frozen=True, slots=True)
class Extent:
    """The earliest start and the latest, in nanoseconds since the epoch."""

    first_ns: int
    last_ns: int

    def with_(self, other: "Extent") -> "Extent":
        """What covers both."""
        return Extent(min(self.first_ns, other.first_ns), max(self.last_ns, other.last_ns))

    def meets(self, first_ns: int | None, end_ns: int | None) -> bool:
        """Whether calls may have started from the one time on, and before the other."""
        if self == NOWHERE:
            return False
        return (first_ns is None or self.last_ns >= first_ns) and (end_ns is None or self.first_ns < end_ns)


# Of a file without a record.
NOWHERE: Final = Extent((1 << 63) - 1, -1 << 63)


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
