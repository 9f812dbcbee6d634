"""Arrivals in the DuckDB engine: records in order of storing, over all parts of an archive.

The one writer gives each commit a later time than all before it, and commits one after the other; so once a
commit is known to be durable, nothing is ever stored before its time. What is read ends there: files are read
one after the other, and a later commit may be seen in one of them before an earlier one in another.

Keys come first, from columns alone and from a span of time that widens until enough is found, so that the
engine passes over all row groups that lie before and behind; then as many records as are wanted.
"""

import datetime
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb

from infertap.query import Query
from storage.archive.duckdb_conditions import conditions
from storage.archive.duckdb_packing import unpacked
from storage.archive.duckdb_parts import Part, Parts
from storage.archive.duckdb_reading import Reading
from storage.archive.duckdb_transactions import read_transaction
from storage.archive.duckdb_writing import Writing, day_of
from storage.archive.entries import Arrival, Position, Stored
from storage.archive.interface import Interrupt

_EPOCH: Final = datetime.date(1970, 1, 1)
_DAY_NS: Final = 86_400_000_000_000
# The span that is looked through first, and by how much it widens.
_SPAN_NS: Final = 4_000_000_000
_WIDER: Final = 4
_BEHIND: Final = "(stored_ns, spool_id, sequence) > (?, ?, ?)"
_KEYS: Final = (
    "SELECT stored_ns, spool_id, sequence, start_ns, record_bytes, {number} AS part, rowid AS row "
    "FROM {part}.records WHERE stored_ns BETWEEN ? AND ? AND {behind}"
)


@dataclass(frozen=True, slots=True)
class _Key:
    """A record that is wanted, and where its row is."""

    stored_ns: int
    spool_id: bytes
    sequence: int
    start_ns: int
    record_bytes: int
    part: int
    row: int


class Arrivals:
    """Tells what was stored, in order. Safe from any thread."""

    def __init__(self, parts: Parts, reading: Reading, writing: Writing) -> None:
        """Raises ArchiveError."""
        self._parts = parts
        self._reading = reading
        self._writing = writing
        self._opened_ns = self._last_stored()

    def latest(self) -> Arrival:
        """See Archive.latest_arrival."""
        return Arrival(max(self._opened_ns, self._writing.last_ns) + 1)

    def after(self, after: Arrival, most: int, most_bytes: int, interrupt: Interrupt) -> list[Stored]:
        """See Archive.arrivals."""
        last_ns = self.latest().stored_ns - 1
        with self._parts.reading() as all_parts, self._reading.cursor(interrupt) as cursor:
            parts = _beginning_with(all_parts, day_of(after.stored_ns))
            if not parts or last_ns < after.stored_ns:
                return []
            with read_transaction(cursor):
                keys: list[_Key] = []
                for first, last in _spans(max(after.stored_ns, _begins(parts[0])), last_ns):
                    keys += _keys(cursor, parts, after, (first, last), most - len(keys))
                    if len(keys) == most:
                        break
                return _records(cursor, parts, _as_many_as_fit(keys, most_bytes))

    def waiting(self, after: Arrival, interrupt: Interrupt) -> int:
        """See Archive."""
        with self._parts.reading() as all_parts, self._reading.cursor(interrupt) as cursor:
            parts = _beginning_with(all_parts, day_of(after.stored_ns))
            return sum(_count(cursor, part, _BEHIND, _values(after)) for part in parts)

    def _last_stored(self) -> int:
        """When the latest records and gaps were stored, whether they are there yet: in a file of the latest
        day that has any.
        """
        with self._parts.reading() as parts, self._reading.cursor(None) as cursor:
            days = itertools.groupby(parts, key=lambda part: part.day)
            return next(filter(None, (_last_ns(cursor, tuple(of_day)) for _, of_day in days)), 0)


def count_removed(
    cursor: "duckdb.DuckDBPyConnection",
    part: Part,
    doomed: tuple[str, Sequence[Any]],
    after: Arrival,
    query: Query,
) -> int:
    """Of rows that meet a condition: how many were stored after a place and match. Raises duckdb.Error."""
    wanted = conditions(query)
    such = f"({doomed[0]}) AND {_BEHIND} AND {wanted.sql}"
    return _count(cursor, part, such, [*doomed[1], *_values(after), *wanted.values])


def _keys(
    cursor: "duckdb.DuckDBPyConnection",
    parts: Sequence[Part],
    after: Arrival,
    span: tuple[int, int],
    most: int,
) -> list[_Key]:
    """What was stored in a span of time, both ends inclusive."""
    days = day_of(span[0]), day_of(span[1])
    within = [(number, part) for number, part in enumerate(parts) if days[0] <= part.day <= days[1]]
    if not within:
        return []
    of_parts = " UNION ALL ".join(
        _KEYS.format(number=number, part=part.name, behind=_BEHIND) for number, part in within
    )
    rows = cursor.execute(
        f"{of_parts} ORDER BY stored_ns, spool_id, sequence LIMIT {most:d}",
        [*span, *_values(after)] * len(within),
    ).fetchall()
    return [_Key(row[0], bytes(row[1]), *row[2:]) for row in rows]


def _records(
    cursor: "duckdb.DuckDBPyConnection", parts: Sequence[Part], keys: Sequence[_Key]
) -> list[Stored]:
    rows: dict[int, list[int]] = {}
    for key in keys:
        rows.setdefault(key.part, []).append(key.row)
    found: dict[tuple[int, int], tuple[str, bytes]] = {}
    for number, of_part in rows.items():
        read = cursor.execute(
            f"SELECT rowid, tenant, record FROM {parts[number].name}.records "  # noqa: S608
            "WHERE rowid IN (SELECT unnest(?::BIGINT[]))",
            [of_part],
        )
        found.update(
            ((number, row), (tenant, unpacked(bytes(record)))) for row, tenant, record in read.fetchall()
        )
    return [_stored(key, *found[key.part, key.row]) for key in keys]


def _stored(key: _Key, tenant: str, record: bytes) -> Stored:
    position = Position(key.start_ns, key.start_ns, key.spool_id, key.sequence)
    return Stored(position, record, key.stored_ns, tenant)


def _as_many_as_fit(keys: Sequence[_Key], most_bytes: int) -> Sequence[_Key]:
    size = 0
    for number, key in enumerate(keys):
        size += key.record_bytes
        if number and size > most_bytes:
            return keys[:number]
    return keys


def _beginning_with(parts: Sequence[Part], day: str) -> list[Part]:
    """The parts of a day and of those after it, the earliest first."""
    return sorted(part for part in parts if part.day >= day)


def _spans(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Spans of time from first to last, each wider than the one before."""
    width = _SPAN_NS
    while first <= last:
        yield first, min(first + width - 1, last)
        first += width
        width *= _WIDER


def _begins(part: Part) -> int:
    """When the day of a part began."""
    return (datetime.date.fromisoformat(part.day) - _EPOCH).days * _DAY_NS


def _values(after: Arrival) -> list[Any]:
    return [after.stored_ns, after.spool_id, after.sequence]


def _last_ns(cursor: "duckdb.DuckDBPyConnection", parts: Sequence[Part]) -> int:
    """What was received stays when records are deleted."""
    of_parts = " UNION ALL ".join(f"SELECT stored_ns FROM {part.name}.received" for part in parts)  # noqa: S608
    row: Any = cursor.execute(f"SELECT max(stored_ns) FROM ({of_parts})").fetchone()  # noqa: S608
    return int(row[0] or 0)


def _count(cursor: "duckdb.DuckDBPyConnection", part: Part, such: str, values: Sequence[Any]) -> int:
    row: Any = cursor.execute(f"SELECT count(*) FROM {part.name}.records WHERE {such}", values).fetchone()  # noqa: S608
    return int(row[0])
