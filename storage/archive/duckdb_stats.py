"""Statistics in the DuckDB engine: counts and figures of calls, from columns alone. See infertap.query.stats.

Two ways lead to a quantile. Where all calls weigh the same and are not too many, the engine picks it from all
values, which it holds in memory: one pass, and exact. Else values are counted in buckets, a pass for each
measure, and quantiles are read off these: two to three times slower, in memory that does not grow with calls.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb

from infertap import v1
from infertap.query import (
    FINENESS,
    LEAST_FRACTION,
    MEASURES,
    SHARES,
    Dimension,
    Figures,
    Measured,
    StatsQuery,
    Tally,
    stats_row,
)
from storage.archive.duckdb_calls import calls_of
from storage.archive.duckdb_conditions import Clause
from storage.archive.duckdb_transactions import read_transaction
from storage.archive.interface import ArchiveError, Interrupt

# Of the engine's memory, for a call whose values are held: four of 8 bytes, and what lists leave behind.
HELD_BYTES: Final = 72
_HELD_SHARE: Final = 3
_WEIGHT: Final = (
    "CASE WHEN sampling_fraction > 0 AND sampling_fraction <= 1 "
    f"THEN 1 / greatest(sampling_fraction, {LEAST_FRACTION}) ELSE 1 END"
)
_NO_STATUS: Final = -1
_COLUMNS: Final = {
    Dimension.MODEL: "model",
    Dimension.MODEL_VERSION: "model_version",
    Dimension.METHOD: "method",
    Dimension.PATH: "path",
    Dimension.STATE: "state",
    Dimension.HTTP_STATUS: "http_status",
    Dimension.GRPC_STATUS: f"coalesce(grpc_status, {_NO_STATUS})",
    Dimension.COHORT: "cohort",
    Dimension.ERROR_TYPE: "error_type",
    Dimension.APPLICATION_VERSION: "application_version",
}
_NUMBERS: Final = (Dimension.STATE, Dimension.HTTP_STATUS, Dimension.GRPC_STATUS, Dimension.TIME)
# Of a measure: its quantiles and its largest value, how many have one, and their sum. None is below zero.
_HELD: Final = ", ".join(
    f"quantile_disc({name}, {[*SHARES, 1.0]}), count({name}), sum({name})" for name in MEASURES
)
_HELD_COLUMNS: Final = 3
_MEASURABLE: Final = ", ".join(f"CASE WHEN {name} >= 0 THEN {name} END AS {name}" for name in MEASURES)


class Holding:
    """Who may hold values: one question at a time, in a third of the memory. Safe from any thread."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def most_calls(self) -> Iterator[int]:
        """Of how many calls values may be held, for as long as it lasts; 0 where another question does."""
        if not self._lock.acquire(blocking=False):
            yield 0
            return
        try:
            yield self._memory_bytes // _HELD_SHARE // HELD_BYTES
        finally:
            self._lock.release()


def read_stats(
    cursor: "duckdb.DuckDBPyConnection",
    parts: Sequence[str],
    asked: StatsQuery,
    interrupt: Interrupt,
    holding: Holding,
) -> v1.GetStatsResponse:
    """See Archive.stats; `parts` are the attached files. Raises duckdb.Error and ArchiveError."""
    if not parts:
        return Tally(asked).answer()
    try:
        with holding.most_calls() as most, _found(cursor, parts, asked) as calls:
            return _Counting(cursor, asked, calls, interrupt).answer(most)
    except duckdb.OutOfMemoryException:  # others have it just now
        with _found(cursor, parts, asked) as calls:
            return _Counting(cursor, asked, calls, interrupt).answer(0)


@contextlib.contextmanager
def _found(cursor: "duckdb.DuckDBPyConnection", parts: Sequence[str], asked: StatsQuery) -> Iterator[Clause]:
    """A statement of the calls, for as long as it lasts: all that ask it see the same snapshot."""
    with read_transaction(cursor):
        calls = calls_of(parts, asked.query)
        if asked.query.feedback is not None:  # found once, as each statement would look through all feedback
            cursor.execute(f"CREATE TEMP TABLE found_calls AS {calls.sql}", calls.values)
            calls = Clause(["SELECT * FROM temp.found_calls"])
        yield calls


@dataclass(frozen=True, slots=True)
class _Whole:
    """What all calls are together: how many, the least and the largest weight, and when they started."""

    calls: int
    least: float
    largest: float
    period_ns: tuple[int, int]


# A group: its key, records, and the weights of calls, of failed and of cancelled ones.
_Counted = tuple[tuple[Any, ...], int, float, float, float]


@dataclass(frozen=True, slots=True)
class _Counting:
    """One question on its way."""

    cursor: "duckdb.DuckDBPyConnection"
    asked: StatsQuery
    calls: Clause
    interrupt: Interrupt

    def answer(self, most_held: int) -> v1.GetStatsResponse:
        """The rows, those with the most calls first; values are held of so many calls at most."""
        whole = self._whole()
        is_held = whole.calls <= most_held and whole.least == whole.largest
        groups = self._held(whole.least) if is_held else self._in_buckets()
        most = self.asked.most
        response = v1.GetStatsResponse(is_cut=len(groups) > most)
        for (key, records, weight, failed, cancelled), measured in groups[:most]:
            figures = Figures(self._group(key), records, weight, failed, cancelled)
            response.rows.append(stats_row(self.asked, figures, measured, whole.period_ns))
        return response

    def _whole(self) -> _Whole:
        ((calls, least, largest, first_ns, last_ns),) = self._run(
            f"SELECT count(*), min({_WEIGHT}), max({_WEIGHT}), min(start_ns), max(start_ns) "  # noqa: S608
            f"FROM ({self.calls.sql})",
            self.calls.values,
        )
        return _Whole(calls, least or 1.0, largest or 1.0, (first_ns or 0, last_ns or 0))

    # -- all values in memory

    def _held(self, weight: float) -> list[tuple[_Counted, list[Measured | None]]]:
        """Groups of calls that weigh that much each, those with the most first; one more than are served."""
        width = len(self._names)
        rows = self._run(
            f"SELECT {self._by}count(*) AS records, count(*) FILTER (state = {v1.FAILED}), "  # noqa: S608
            f"count(*) FILTER (state = {v1.CANCELLED}), {_HELD} "
            f"FROM (SELECT * REPLACE ({_MEASURABLE}) FROM ({self._grouped})) {self._group_by} "
            f"ORDER BY {', '.join(['records DESC', *self._names])} LIMIT {self.asked.most + 1:d}",
            self.calls.values,
        )
        groups = []
        for row in rows:
            records, failed, cancelled, *figures = row[width:]
            counted = (row[:width], records, records * weight, failed * weight, cancelled * weight)
            groups.append((counted, [_held(each, weight) for each in _in_lots(figures, _HELD_COLUMNS)]))
        return groups

    # -- in buckets

    def _in_buckets(self) -> list[tuple[_Counted, list[Measured | None]]]:
        """Groups, those with the most calls first; one more than are served, where there are more."""
        counted = self._counted()
        kept = [each[0] for each in counted[: self.asked.most]]
        is_cut = len(counted) > len(kept)
        measured = [self._measured(name, kept if is_cut else None) for name in MEASURES]
        return [(each, [of_measure.get(each[0]) for of_measure in measured]) for each in counted]

    def _counted(self) -> list[_Counted]:
        width = len(self._names)
        rows = self._run(
            f"SELECT {self._by}count(*), sum({_WEIGHT}) AS weight, "  # noqa: S608
            f"sum({_WEIGHT}) FILTER (state = {v1.FAILED}), sum({_WEIGHT}) FILTER (state = {v1.CANCELLED}) "
            f"FROM ({self._grouped}) {self._group_by} "
            f"ORDER BY {', '.join(['weight DESC', *self._names])} LIMIT {self.asked.most + 1:d}",
            self.calls.values,
        )
        return [(row[:width], row[width], *(weight or 0.0 for weight in row[width + 1 :])) for row in rows]

    def _measured(self, name: str, kept: Sequence[tuple[Any, ...]] | None) -> dict[tuple[Any, ...], Measured]:
        """The figures of one measure, by group; of those kept only, where others are left out."""
        names = self._names
        where, values = f"{name} >= 0", list(self.calls.values)
        if kept is not None:
            kinds = ["BIGINT" if each in _NUMBERS else "VARCHAR" for each in self.asked.group_by]
            chosen = ", ".join(f"unnest(?::{kind}[])" for kind in kinds)
            where += f" AND ({', '.join(names)}) IN (SELECT {chosen})"
            values += [[key[place] for key in kept] for place in range(len(names))]
        bucket = f"floor(ln({name}::DOUBLE + 1) * {FINENESS})::INTEGER"
        within = f"PARTITION BY {', '.join(names)}" if names else ""
        shares = ", ".join(f"min(top) FILTER (reached >= {share} * total)" for share in SHARES)
        rows = self._run(
            f"WITH buckets AS (SELECT {self._by}{bucket} AS bucket, "  # noqa: S608
            f"sum({_WEIGHT}) AS weight, max({name}) AS top, sum({_WEIGHT} * {name}) AS total_value "
            f"FROM ({self._grouped}) WHERE {where} GROUP BY {self._by}bucket), "
            f"running AS (SELECT *, sum(weight) OVER ({within} ORDER BY bucket) AS reached, "
            f"sum(weight) OVER ({within}) AS total FROM buckets) "
            f"SELECT {self._by}any_value(total), sum(total_value), max(top), {shares} FROM running "
            f"{self._group_by}",
            values,
        )
        return {row[: len(names)]: _figures(row[len(names) :]) for row in rows if row[len(names)]}

    # -- statements

    def _run(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        if self.interrupt.is_set:  # between two statements there is nothing to interrupt
            raise ArchiveError("the query was ended")
        return self.cursor.execute(statement, values).fetchall()

    @property
    def _names(self) -> list[str]:
        return [f"g{place}" for place in range(len(self.asked.group_by))]

    @property
    def _by(self) -> str:
        """The groups' columns, before others."""
        return "".join(f"{name}, " for name in self._names)

    @property
    def _group_by(self) -> str:
        return f"GROUP BY {', '.join(self._names)}" if self._names else ""

    @property
    def _grouped(self) -> str:
        """The calls, with what they are grouped by."""
        groups = [
            f"{self._expression(dimension)} AS {name}"
            for dimension, name in zip(self.asked.group_by, self._names, strict=True)
        ]
        return f"SELECT {', '.join(['*', *groups])} FROM ({self.calls.sql})"  # noqa: S608

    def _expression(self, dimension: int) -> str:
        if dimension == Dimension.TIME:
            size = self.asked.bucket_ns
            # The remainder of what is before 1970 is below zero.
            return f"start_ns - ((start_ns % {size:d}) + {size:d}) % {size:d}"
        return _COLUMNS[dimension]  # type: ignore[index]

    def _group(self, key: tuple[Any, ...]) -> tuple[str | int | None, ...]:
        return tuple(
            None if dimension == Dimension.GRPC_STATUS and value == _NO_STATUS else value
            for dimension, value in zip(self.asked.group_by, key, strict=True)
        )


def _in_lots(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for first in range(0, len(values), size):
        yield values[first : first + size]


def _held(row: Sequence[Any], weight: float) -> Measured | None:
    found, count, total = row
    if not count:
        return None
    *quantiles, top = found
    return Measured(total / count, tuple(map(float, quantiles)), top, total * weight)


def _figures(row: Sequence[Any]) -> Measured:
    weight, total, top, *quantiles = row
    return Measured(total / weight, tuple(map(float, quantiles)), top, total)
