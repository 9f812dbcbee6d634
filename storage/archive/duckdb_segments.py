"""Segments in the DuckDB engine: what belongs to one call, over all days' files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import duckdb

from infertap import v1
from storage.archive.duckdb_queries import LATER_SEGMENT, SEGMENTS, stored_of
from storage.archive.entries import Position

# Rows that are read at a time: each is folded into the one before.
_FEW_ROWS: Final = 4


@dataclass(frozen=True, slots=True)
class CallSegments:
    """The segments of one call: of one spool, with one start."""

    call_id: str
    position: Position
    # Attached files, newest day first.
    days: Sequence[str]

    @property
    def _call(self) -> list[object]:
        return [self.call_id, self.position.start_ns, self.position.spool_id]

    def has_later(self, cursor: "duckdb.DuckDBPyConnection") -> bool:
        """Whether one was recorded after the one at `position`."""
        return any(
            cursor.execute(LATER_SEGMENT.format(day=day), [*self._call, self.position.sequence]).fetchone()
            for day in self.days
        )

    def all(self, cursor: "duckdb.DuckDBPyConnection") -> Iterator[v1.Record]:
        """All of them in order, few at a time."""
        for day in reversed(self.days):
            found = cursor.execute(SEGMENTS.format(day=day), self._call)
            while rows := found.fetchmany(_FEW_ROWS):
                yield from (stored_of(row).served() for row in rows)
