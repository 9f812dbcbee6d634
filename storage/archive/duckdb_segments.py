"""Segments in the DuckDB engine: what belongs to one call, over all parts of an archive."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from infertap import v1
from storage.archive.duckdb_packing import unpacked
from storage.archive.entries import Position, Stored


@dataclass(frozen=True, slots=True)
class CallSegments:
    """The segments of one call: of one spool, with one start, by which the engine skips most of a part."""

    call_id: str
    position: Position
    # Attached files.
    parts: Sequence[str]
    # Nanoseconds since the epoch; what was stored later is left out.
    as_of_ns: int | None = None

    def has_later(self, cursor: "duckdb.DuckDBPyConnection") -> bool:
        """Whether one was recorded after the one at `position`. Raises duckdb.Error."""
        return bool(self._keys(cursor, "AND sequence > ?", [self.position.sequence], "LIMIT 1"))

    def all(self, cursor: "duckdb.DuckDBPyConnection") -> Iterator[v1.Record]:
        """All of them in order, one at a time: each is folded into those before. Raises duckdb.Error."""
        for sequence, number in self._keys(cursor, "", [], "ORDER BY sequence"):
            yield from self._read(cursor, self.parts[number], sequence)

    def _read(self, cursor: "duckdb.DuckDBPyConnection", part: str, sequence: int) -> Iterator[v1.Record]:
        rows = cursor.execute(
            f"SELECT stored_ns, tenant, record FROM {part}.records "  # noqa: S608
            "WHERE call_id = ? AND start_ns = ? AND spool_id = ? AND sequence = ?",
            [*self._call, sequence],
        ).fetchall()
        start_ns, spool_id = self.position.start_ns, self.position.spool_id
        for stored_ns, tenant, record in rows:
            position = Position(start_ns, start_ns, spool_id, sequence)
            yield Stored(position, unpacked(bytes(record)), stored_ns, tenant).served()

    def _keys(
        self, cursor: "duckdb.DuckDBPyConnection", such: str, values: list[Any], then: str
    ) -> list[tuple[int, int]]:
        """Sequences of the call's segments, and in which part each is."""
        if self.as_of_ns is not None:
            such, values = f"{such} AND stored_ns <= ?", [*values, self.as_of_ns]
        of_parts = " UNION ALL ".join(
            f"SELECT sequence, {number} AS part FROM {part}.records "  # noqa: S608
            f"WHERE call_id = ? AND start_ns = ? AND spool_id = ? {such}"
            for number, part in enumerate(self.parts)
        )
        given = [*self._call, *values] * len(self.parts)
        return cursor.execute(f"{of_parts} {then}", given).fetchall()

    @property
    def _call(self) -> list[object]:
        return [self.call_id, self.position.start_ns, self.position.spool_id]
