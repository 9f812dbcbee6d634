"""Pages in the DuckDB engine: records in a query's order, over all parts of an archive.

First the keys of the next rows, from columns alone (duckdb_keys); then the records of as many as fit on a
page, by their row ids: the engine would else read every record that passes while it sorts. Both happen in one
transaction, for row ids are of one snapshot.
"""

import dataclasses
from collections.abc import Sequence
from typing import Final

import duckdb

from infertap import v1
from infertap.query import Query, is_segment, join_segments, may_hold
from storage.archive.duckdb_extents import Extents
from storage.archive.duckdb_keys import Key, next_keys
from storage.archive.duckdb_packing import unpacked
from storage.archive.duckdb_segments import CallSegments
from storage.archive.duckdb_transactions import read_transaction
from storage.archive.entries import Page, Position, Stored
from storage.archive.interface import ArchiveError, Interrupt

# Records that are read at once: few at first, for they may be large; more once they prove to be small.
_FIRST_ROWS: Final = 50
_STEP_ROWS: Final = 1000
# Keys that are read at once where a text was not among the first: each time costs as much as a page.
_LONG_STEP_ROWS: Final = 10_000
# Records that a page is looked for among, before it is handed out as it is.
_MOST_ROWS: Final = 50_000
# Bytes of records in one page, but for one record alone: clients of gRPC take 4 MiB unless told otherwise.
_PAGE_BYTES: Final = 7 << 19
# What a record costs on a page beside its own bytes: what its server adds, at most.
_ITEM_BYTES: Final = 64


def read_page(
    cursor: "duckdb.DuckDBPyConnection",
    parts: Sequence[str],
    extents: Extents,
    query: Query,
    after: Position | None,
    *,
    size: int,
    interrupt: Interrupt,
) -> Page:
    """See Archive.page; `parts` are the attached files, newest first, of which `extents` tells. Raises
    duckdb.Error and ArchiveError.
    """
    if not parts:
        return Page([], None)
    with read_transaction(cursor):
        return _Reading(cursor, parts, extents, query, after, size=size, interrupt=interrupt).page()


class _Reading:
    """One page while it fills."""

    def __init__(
        self,
        cursor: "duckdb.DuckDBPyConnection",
        parts: Sequence[str],
        extents: Extents,
        query: Query,
        after: Position | None,
        *,
        size: int,
        interrupt: Interrupt,
    ) -> None:
        self._cursor = cursor
        self._parts = parts
        self._extents = extents.of(cursor, parts)
        self._query = query
        # What the engine has looked for is in no record.
        self._plain = dataclasses.replace(query, feedback=None)
        self._after = after
        self._size = size
        self._interrupt = interrupt
        self._found: list[v1.Record] = []
        self._weight = self._looked_at = self._read_bytes = 0

    def page(self) -> Page:
        """The page; shorter where it is interrupted having come some way."""
        try:
            while not self._interrupt.is_set and self._looked_at < _MOST_ROWS:
                keys = self._next_keys()
                if not keys:
                    return Page(self._found, None)
                if self._take(keys):
                    break
        except duckdb.InterruptException:
            if not self._looked_at:
                raise
        if self._after is None:  # which would say that there is no more
            raise ArchiveError("the query was ended")
        return Page(self._found, self._after)

    def _next_keys(self) -> list[Key]:
        """The next rows in order that may be wanted."""
        # Only a text is looked for outside the engine; else each row that is read is wanted.
        most = min(self._size - len(self._found), _STEP_ROWS)
        if self._query.text:
            most = _LONG_STEP_ROWS if self._looked_at else _STEP_ROWS
        return next_keys(
            self._cursor,
            self._parts,
            self._extents,
            self._query,
            self._after,
            most=most,
            interrupt=self._interrupt,
        )

    def _take(self, keys: Sequence[Key]) -> bool:
        """Put what is wanted of these rows on the page; whether it is full."""
        while keys and not self._interrupt.is_set:
            small = min(_PAGE_BYTES * self._looked_at // max(self._read_bytes, 1), _STEP_ROWS)
            now, keys = keys[: max(small, _FIRST_ROWS)], keys[max(small, _FIRST_ROWS) :]
            stored = self._stored(now)
            for key in now:
                if self._take_one(key, stored[key.part, key.row]):
                    return True
        return False

    def _take_one(self, key: Key, stored: Stored) -> bool:
        """Put a record on the page, if it is wanted; whether the page is full."""
        self._looked_at += 1
        self._read_bytes += len(stored.record)
        record = self._wanted(key, stored)
        if record is not None:
            self._weight += record.ByteSize() + _ITEM_BYTES
            if self._found and self._weight > _PAGE_BYTES:
                return True
            self._found.append(record)
        self._after = key.position
        return len(self._found) == self._size

    def _wanted(self, key: Key, stored: Stored) -> v1.Record | None:
        if self._query.text and not key.is_segment and not may_hold(stored.record, self._query.text):
            return None
        record = served_row(self._cursor, self._parts, stored.served(), self._query.as_of_ns)
        return record if record is not None and self._plain.matches(record) else None

    def _stored(self, keys: Sequence[Key]) -> dict[tuple[int, int], Stored]:
        """The records of these rows."""
        rows: dict[int, dict[int, Key]] = {}
        for key in keys:
            rows.setdefault(key.part, {})[key.row] = key
        of_parts = " UNION ALL ".join(
            f"SELECT {number:d}, rowid, stored_ns, tenant, record FROM {self._parts[number]}.records "  # noqa: S608
            "WHERE rowid IN (SELECT unnest(?::BIGINT[]))"
            for number in rows
        )
        found: dict[tuple[int, int], Stored] = {}
        for number, row, stored_ns, tenant, record in self._cursor.execute(
            of_parts, [list(of_part) for of_part in rows.values()]
        ).fetchall():
            position = rows[number][row].position
            found[number, row] = Stored(position, unpacked(bytes(record)), stored_ns, tenant)
        return found


def served_row(
    cursor: "duckdb.DuckDBPyConnection", parts: Sequence[str], record: v1.Record, as_of_ns: int | None = None
) -> v1.Record | None:
    """See Archive.row: `record` as it stands in lists, as things were then. Raises duckdb.Error."""
    if not is_segment(record):
        return record
    start_ns = record.timing.start.ToNanoseconds()
    position = Position(start_ns, start_ns, record.spool_id, record.sequence)
    segments = CallSegments(record.call_id, position, parts, as_of_ns)
    return None if segments.has_later(cursor) else join_segments(segments.all(cursor))
