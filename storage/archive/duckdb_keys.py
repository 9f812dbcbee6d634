"""Keys of a page in the DuckDB engine: which rows come next in a query's order, over all parts, by columns.

In the order of start, all files are asked for one span of time after the other: of most users there are fifty
calls in the latest ones, and the engine passes over what started at other times. Files overlap, and late
records are in the wrong ones: so all are asked that may have some of a span (duckdb_extents).
"""

import functools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb

from infertap.query import Query
from storage.archive.duckdb_conditions import (
    Clause,
    behind,
    call_conditions,
    order_clause,
    order_value,
    row_conditions,
)
from storage.archive.duckdb_extents import EVER, NOWHERE, Extent, asked_for
from storage.archive.entries import Position
from storage.archive.interface import Interrupt

_BY_START: Final = "start_time"
# The first span is such a part of what a file covers; where nothing is in one, the next is so many times as
# long, else as long as it takes by what was found, and a little longer: one more statement costs as much as
# 150,000 rows. None is shorter than a second.
_PART_OF_FILE: Final = 3
_WIDER: Final = 4
_LONGER: Final = 1.3
_LEAST_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """A row that may stand for a call: where it stands in the list, by which keys are ordered, and where its
    record is.
    """

    position: Position
    # Of the parts that were asked, and the row's id in it.
    part: int
    row: int
    is_segment: bool


def next_keys(
    cursor: "duckdb.DuckDBPyConnection",
    parts: Sequence[str],
    extents: Sequence[Extent],
    query: Query,
    after: Position | None,
    *,
    most: int,
    interrupt: Interrupt,
) -> list[Key]:
    """The first rows behind `after`, in order, that may be asked for; `parts` are the attached files, each of
    which covers its extent. Raises duckdb.Error.
    """
    found: list[Key] = []
    spans = _Spans.of(extents, query, after)
    while len(found) < most and (span := spans.next(len(found) / most)) is not None:
        if interrupt.is_set:  # between two statements there is nothing to interrupt
            raise duckdb.InterruptException("ended")
        lot = [number for number, extent in enumerate(extents) if extent.meets(span)]
        if lot:
            statement = _statement(parts, lot, query, after, span)
            rows = cursor.execute(f"{statement.sql} LIMIT {most - len(found):d}", statement.values).fetchall()
            found += map(_key, rows)
    return found


@dataclass(slots=True)
class _Spans:
    """Spans of time in the order of a query, until none is left in which there may be something."""

    # What the files cover of what is wanted.
    covered: Sequence[Extent]
    left: Extent
    is_descending: bool
    # None: all that is left.
    width_ns: int | None
    asked_ns: int = 0
    share: float = 0.0

    @classmethod
    def of(cls, extents: Sequence[Extent], query: Query, after: Position | None) -> "_Spans":
        """Of what these extents cover; all at once, where the order is another one."""
        whole = _wanted(query, after)
        covered = [both for each in extents if (both := each.within(whole)) != NOWHERE]
        width_ns = None
        # Feedback would be looked through for each span.
        if covered and query.order.key == _BY_START and query.feedback is None:
            usual_ns = statistics.median_low(each.width_ns for each in covered)
            width_ns = max(usual_ns // _PART_OF_FILE, _LEAST_NS)
        return cls(covered, whole, query.order.is_descending, width_ns)

    def next(self, share: float) -> Extent | None:
        """The next span, where that share of what is looked for has been found in those before."""
        self.left = functools.reduce(Extent.with_, (each.within(self.left) for each in self.covered), NOWHERE)
        if self.left == NOWHERE:
            return None
        first, last = self.left.first_ns, self.left.last_ns
        if self.width_ns is not None:
            width_ns = self._widened(self.width_ns, share)
            self.width_ns, self.asked_ns, self.share = width_ns, self.asked_ns + width_ns, share
            if self.is_descending:
                first = max(first, last - width_ns + 1)
            else:
                last = min(last, first + width_ns - 1)
        behind = Extent(EVER.first_ns, first - 1) if self.is_descending else Extent(last + 1, EVER.last_ns)
        self.left = self.left.within(behind)
        return Extent(first, last)

    def _widened(self, width_ns: int, share: float) -> int:
        """How long the next one is, by the one before."""
        if not self.asked_ns:
            return width_ns
        needed = int(self.asked_ns * (_LONGER / share - 1)) if share else 0
        # Never nothing; and more than before, where that brought nothing.
        return max(needed, width_ns * _WIDER if share == self.share else _LEAST_NS)


def _wanted(query: Query, after: Position | None) -> Extent:
    """Between which times calls started that may be behind `after`."""
    whole = asked_for(query)
    if query.order.key != _BY_START or after is None:
        return whole
    behind_it = Extent(EVER.first_ns, after.start_ns), Extent(after.start_ns, EVER.last_ns)
    return whole.within(behind_it[0] if query.order.is_descending else behind_it[1])


def _statement(
    parts: Sequence[str], lot: Sequence[int], query: Query, after: Position | None, span: Extent
) -> Clause:
    """All rows of these parts that may be asked for, in order: behind `after`, of that span of time."""
    of_calls, of_rows, value = call_conditions(query), row_conditions(query), order_value(query.order)
    if after is not None:
        of_calls.also(behind(query.order, after))
    of_calls.must("start_ns BETWEEN ? AND ?", span.first_ns, span.last_ns)
    such = [of_calls]
    if of_rows.parts:  # two that the engine can look up are faster than one with an OR
        such = [
            Clause(["NOT is_segment", of_calls.sql, of_rows.sql], [*of_calls.values, *of_rows.values]),
            Clause(["is_segment", of_calls.sql], of_calls.values),
        ]
    selects = [
        f"SELECT {value} AS value, start_ns, spool_id, sequence, {number} AS part, rowid AS row, is_segment "  # noqa: S608
        f"FROM {parts[number]}.records WHERE {where.sql}"
        for number in lot
        for where in such
    ]
    ordered = f"{' UNION ALL '.join(selects)} ORDER BY {order_clause(query.order)}"
    return Clause([ordered], [each for where in such for each in where.values] * len(lot))


def _key(row: tuple[Any, ...]) -> Key:
    value, start_ns, spool_id, sequence, part, number, is_segment = row
    return Key(Position(value, start_ns, bytes(spool_id), sequence), part, number, is_segment)
