"""Statistics in the DuckDB engine: counts and figures of calls, from columns alone. See infertap.query.stats.

A row that is no segment is a call; segments are joined first, as infertap.query.join_segments joins records.
Values are counted in buckets, and quantiles are read off these.
"""

import contextlib
from collections.abc import Sequence
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
    Query,
    StatsQuery,
    Tally,
    stats_row,
)
from storage.archive.duckdb_conditions import Clause, call_conditions, conditions, row_conditions
from storage.archive.interface import ArchiveError, Interrupt

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
# What a call is counted and found by; of segments, how they are joined where the latest does not say it all.
_EARLIEST: Final = ("model", "model_version")
_LATEST: Final = (
    "method",
    "path",
    "state",
    "http_status",
    "grpc_status",
    "duration_us",
    "first_byte_us",
    # The engine passes over what is null: the latest that says it.
    "input_tokens",
    "output_tokens",
    "sampling_fraction",
    "caller",
    "session",
    "cohort",
    "application_version",
    "error_type",
    "tags",
)
_JOINED: Final = ", ".join(
    [
        *(f"coalesce(arg_min({name}, sequence) FILTER ({name} <> ''), '') AS {name}" for name in _EARLIEST),
        *(f"arg_max({name}, sequence) AS {name}" for name in _LATEST),
        "coalesce(arg_max(finish_reasons, sequence) FILTER (len(finish_reasons) > 0), []) AS finish_reasons",
        "list_distinct(flatten(list(redaction_classes))) AS redaction_classes",
    ]
)
_FOUND: Final = ", ".join(["start_ns", *_EARLIEST, *_LATEST])


def count_calls(cursor: "duckdb.DuckDBPyConnection", parts: Sequence[str], query: Query) -> int:
    """See Archive.count; `parts` are the attached files. Raises duckdb.Error."""
    if not parts:
        return 0
    calls = _calls(parts, query)
    row = cursor.execute(f"SELECT count(*) FROM ({calls.sql})", calls.values).fetchone()  # noqa: S608
    return int(row[0]) if row else 0


def read_stats(
    cursor: "duckdb.DuckDBPyConnection", parts: Sequence[str], asked: StatsQuery, interrupt: Interrupt
) -> v1.GetStatsResponse:
    """See Archive.stats; `parts` are the attached files. Raises duckdb.Error and ArchiveError."""
    if not parts:
        return Tally(asked).answer()
    cursor.execute("BEGIN TRANSACTION READ ONLY")
    try:
        calls = _calls(parts, asked.query)
        if asked.query.feedback is not None:  # found once, as each statement would look through all feedback
            cursor.execute(f"CREATE TEMP TABLE found_calls AS {calls.sql}", calls.values)
            calls = Clause(["SELECT * FROM temp.found_calls"])
        return _Counting(cursor, asked, calls, interrupt).answer()
    finally:
        with contextlib.suppress(duckdb.Error):
            cursor.execute("ROLLBACK")


def _calls(parts: Sequence[str], query: Query) -> Clause:
    """A statement of all calls that match, one row for each."""
    whole, of_calls, of_rows = conditions(query), call_conditions(query), row_conditions(query)
    rows = " UNION ALL ".join(
        f"SELECT {_FOUND} FROM {part}.records WHERE NOT is_segment AND {whole.sql}"  # noqa: S608
        for part in parts
    )
    segments = " UNION ALL ".join(
        f"SELECT * EXCLUDE (record) FROM {part}.records WHERE is_segment AND {of_calls.sql}"  # noqa: S608
        for part in parts
    )
    joined = f"SELECT start_ns, {_JOINED} FROM ({segments}) GROUP BY call_id, start_ns, spool_id"  # noqa: S608
    return Clause(
        [f"{rows} UNION ALL SELECT {_FOUND} FROM ({joined}) WHERE {of_rows.sql}"],  # noqa: S608
        [*whole.values * len(parts), *of_calls.values * len(parts), *of_rows.values],
    )


@dataclass(frozen=True, slots=True)
class _Counting:
    """One question on its way; all statements see the same snapshot."""

    cursor: "duckdb.DuckDBPyConnection"
    asked: StatsQuery
    calls: Clause
    interrupt: Interrupt

    def answer(self) -> v1.GetStatsResponse:
        """The rows, those with the most calls first."""
        counted = self._counted()
        is_cut = len(counted) > self.asked.most
        kept = counted[: self.asked.most]
        measured = [self._measured(name, kept if is_cut else None) for name in MEASURES]
        response = v1.GetStatsResponse(is_cut=is_cut)
        width = len(self.asked.group_by)
        for row in kept:
            key, (records, weight, failed, cancelled, first_ns, last_ns) = row[:width], row[width:]
            figures = Figures(self._group(key), records, weight or 0, failed or 0, cancelled or 0)
            of_group = [each.get(key) for each in measured]
            response.rows.append(stats_row(self.asked, figures, of_group, (first_ns or 0, last_ns or 0)))
        return response

    def _counted(self) -> list[tuple[Any, ...]]:
        """Each group with its counts, and when the first and the last of all calls started."""
        by = ", ".join(self._names)
        return self._run(
            f"SELECT {by}{',' if by else ''} count(*), sum({_WEIGHT}) AS weight, "  # noqa: S608
            f"sum({_WEIGHT}) FILTER (state = {v1.FAILED}), sum({_WEIGHT}) FILTER (state = {v1.CANCELLED}), "
            f"min(min(start_ns)) OVER (), max(max(start_ns)) OVER () FROM ({self._grouped}) "
            f"{'GROUP BY ' + by if by else ''} ORDER BY {', '.join(['weight DESC', *self._names])} "
            f"LIMIT {self.asked.most + 1:d}",
            self.calls.values,
        )

    def _measured(self, name: str, kept: Sequence[tuple[Any, ...]] | None) -> dict[tuple[Any, ...], Measured]:
        """The figures of one measure, by group; of those kept only, where others are left out."""
        names = self._names
        by = "".join(f"{each}, " for each in names)
        where, values = f"{name} >= 0", list(self.calls.values)
        if kept is not None:
            kinds = ["BIGINT" if each in _NUMBERS else "VARCHAR" for each in self.asked.group_by]
            chosen = ", ".join(f"unnest(?::{kind}[])" for kind in kinds)
            where += f" AND ({', '.join(names)}) IN (SELECT {chosen})"
            values += [[row[place] for row in kept] for place in range(len(names))]
        within = f"PARTITION BY {', '.join(names)}" if names else ""
        shares = ", ".join(f"min(top) FILTER (reached >= {share} * total)" for share in SHARES)
        rows = self._run(
            f"WITH buckets AS (SELECT {by} floor(ln({name}::DOUBLE + 1) * {FINENESS})::INTEGER AS bucket, "  # noqa: S608
            f"sum({_WEIGHT}) AS weight, max({name}) AS top, sum({_WEIGHT} * {name}) AS total_value "
            f"FROM ({self._grouped}) WHERE {where} GROUP BY {by} bucket), "
            f"running AS (SELECT *, sum(weight) OVER ({within} ORDER BY bucket) AS reached, "
            f"sum(weight) OVER ({within}) AS total FROM buckets) "
            f"SELECT {by} any_value(total), sum(total_value), max(top), {shares} FROM running "
            f"{'GROUP BY ' + ', '.join(names) if names else ''}",
            values,
        )
        return {row[: len(names)]: _figures(row[len(names) :]) for row in rows if row[len(names)]}

    def _run(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        if self.interrupt.is_set:  # between two statements there is nothing to interrupt
            raise ArchiveError("the query was ended")
        return self.cursor.execute(statement, values).fetchall()

    @property
    def _names(self) -> list[str]:
        return [f"g{place}" for place in range(len(self.asked.group_by))]

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


def _figures(row: tuple[Any, ...]) -> Measured:
    weight, total, top, *quantiles = row
    return Measured(total / weight, tuple(map(float, quantiles)), top, total)
