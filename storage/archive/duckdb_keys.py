"""Keys of a page in the DuckDB engine: which rows come next in a query's order, over all parts, by columns.

In the order of start, files are asked by turns, those where the next rows are likely to be first: of most
users there are fifty calls in the latest few. Once a page is full, all others are asked at once for what
stands before its last row. Files overlap, and late records are in the wrong ones: so all are asked whose
extent (duckdb_extents) does not rule it out.
"""

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
from storage.archive.duckdb_extents import Extent
from storage.archive.entries import Position
from storage.archive.interface import Interrupt

_BY_START: Final = "start_time"
# Files that are asked at first: as many as are written to by turns.
_FIRST_LOT: Final = 2


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
    waiting, lot, asked = *_turns(extents, query, after), 0
    while waiting:
        if interrupt.is_set:  # between two statements there is nothing to interrupt
            raise duckdb.InterruptException("ended")
        last = found[-1].position if len(found) == most else None
        statement = _statement(parts, waiting[:lot], query, after, last)
        rows = cursor.execute(f"{statement.sql} LIMIT {most:d}", statement.values).fetchall()
        found = sorted([*found, *map(_key, rows)], reverse=query.order.is_descending)[:most]
        asked, waiting = asked + lot, waiting[lot:]
        if len(found) == most:
            waiting = [each for each in waiting if _may_precede(extents[each], query, found[-1].position)]
            lot = len(waiting)
        else:  # ever more, as a statement costs as much as a file does
            lot = asked
    return found


def _turns(extents: Sequence[Extent], query: Query, after: Position | None) -> tuple[list[int], int]:
    """The numbers of the parts that may have some, in the order in which they are asked; how many first."""
    first_ns, end_ns = query.start_ns, query.end_ns
    if query.order.key == _BY_START and after is not None:
        if query.order.is_descending:
            end_ns = after.start_ns + 1 if end_ns is None else min(end_ns, after.start_ns + 1)
        else:
            first_ns = after.start_ns if first_ns is None else max(first_ns, after.start_ns)
    numbers = [number for number, extent in enumerate(extents) if extent.meets(first_ns, end_ns)]
    if query.order.key != _BY_START or query.feedback is not None:  # each would look through all feedback
        return numbers, len(numbers)
    if query.order.is_descending:
        return sorted(numbers, key=lambda number: extents[number].last_ns, reverse=True), _FIRST_LOT
    return sorted(numbers, key=lambda number: extents[number].first_ns), _FIRST_LOT


def _may_precede(extent: Extent, query: Query, last: Position) -> bool:
    """Whether a part may have rows that do not stand behind `last`."""
    if query.order.key != _BY_START:
        return True
    return extent.last_ns >= last.start_ns if query.order.is_descending else extent.first_ns <= last.start_ns


def _statement(
    parts: Sequence[str], lot: Sequence[int], query: Query, after: Position | None, last: Position | None
) -> Clause:
    """All rows of these parts that may be asked for, in order: behind `after`, and not behind `last`."""
    of_calls, of_rows = call_conditions(query), row_conditions(query)
    value, sign = order_value(query.order), ">" if query.order.is_descending else "<"
    if after is not None:
        of_calls.also(behind(query.order, after))
    if last is not None:
        of_calls.must(f"{value} {sign}= ?", last.order_value)
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
