"""Statistics in the ClickHouse engine: counted by the server, from columns alone.

Rows are read as they stand (FINAL): each once, however often it was inserted. The segments of a call are one
row first, as infertap.query.join_segments would have it. Values are counted in buckets
(infertap.query.stats), each standing for the largest value in it, and quantiles are read off these: what the
server holds for a group is bounded.
"""

from collections.abc import Sequence
from typing import Any, Final

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
    stats_row,
)
from storage.archive.clickhouse_conditions import Conditions
from storage.archive.clickhouse_connection import Connection
from storage.archive.interface import Interrupt

_DIMENSIONS: Final[dict[int, str]] = {
    Dimension.MODEL: "model",
    Dimension.MODEL_VERSION: "model_version",
    Dimension.METHOD: "method",
    Dimension.PATH: "path",
    Dimension.STATE: "state",
    Dimension.HTTP_STATUS: "http_status",
    Dimension.GRPC_STATUS: "grpc_status",
    Dimension.COHORT: "cohort",
    Dimension.ERROR_TYPE: "error_type",
    Dimension.APPLICATION_VERSION: "application_version",
}
_ROW: Final = [
    "tenant",
    "start_ns",
    "duration_us",
    "state",
    "http_status",
    "grpc_status",
    "method",
    "path",
    "model",
    "model_version",
    "caller",
    "session",
    "cohort",
    "application_version",
    "error_type",
    "tags",
    "finish_reasons",
    "redaction_classes",
    "first_byte_us",
    "input_tokens",
    "output_tokens",
    "sampling_fraction",
]
# What a call in segments says: its latest segment, or the latest, or first, that says anything.
_FIRST_SAID: Final = frozenset({"model", "model_version"})
_LATEST_SAID: Final = frozenset({"input_tokens", "output_tokens"})
_WEIGHT: Final = (
    "if(sampling_fraction > 0 AND sampling_fraction <= 1, "
    f"1 / greatest(sampling_fraction, {LEAST_FRACTION}), 1.)"
)
# Each row once for each measure that it has, and once as number 0, for the row itself: then grouped with its
# bucket, which leaves few rows; then without, with arrays of (bucket, weight, largest value), ascending.
_BUCKETS: Final = """
SELECT {keys} measured.1 AS measure, {bucket} AS bucket, count() AS n, sum(weight) AS w,
    sumIf(weight, measure = 0 AND state = {failed}) AS w_failed,
    sumIf(weight, measure = 0 AND state = {cancelled}) AS w_cancelled,
    min(start_ns) AS earliest, max(start_ns) AS latest,
    max(measured.2) AS top, sum(toFloat64(measured.2) * weight) AS total
FROM (SELECT *, {weight} AS weight, arrayJoin([(0, 0), {values}]) AS measured FROM ({rows}))
WHERE measured.2 >= 0 GROUP BY {names} measure, bucket
"""
_GROUPS: Final = """
SELECT {names} sumIf(n, measure = 0) AS records, sumIf(w, measure = 0) AS calls, sum(w_failed) AS failed,
    sum(w_cancelled) AS cancelled, min(earliest) AS first, max(latest) AS last, {measures}
FROM ({buckets}) {by} ORDER BY calls DESC LIMIT {most:d}
"""
_GROUP: Final = (
    "sumIf(total, measure = {n}) AS total_{n}, "
    "arraySort(groupArrayIf((bucket, w, top), measure = {n})) AS buckets_{n}, "
    "arrayCumSum(buckets_{n}.2) AS reached_{n}"
)
_FIGURES: Final = """
SELECT {names} records, calls, failed, cancelled, first, last, {measures} FROM ({groups}) ORDER BY calls DESC
"""
# Weight, total and largest value; the smallest value that has such a share of the weight at or below it.
_MEASURE: Final = (
    "reached_{n}[-1], total_{n}, buckets_{n}.3[-1], arrayMap(share -> buckets_{n}.3[if(arrayFirstIndex("
    "each -> each >= share * reached_{n}[-1], reached_{n}) AS place = 0, -1, place)], {shares})"
)
_PER_MEASURE: Final = 4
_PERIOD: Final = "SELECT count(), min(start_ns), max(start_ns) FROM ({rows})"


class Statistics:
    """Counts. Safe from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._database = connection.location.database

    def count(self, query: Query, interrupt: Interrupt) -> int:
        """See Archive."""
        where = Conditions(self._database)
        statement = f"SELECT count() FROM ({self._calls(query, where, ['start_ns'])})"
        return int(self._connection.rows(statement, where.values, interrupt)[0][0])

    def stats(self, asked: StatsQuery, interrupt: Interrupt) -> v1.GetStatsResponse:
        """See Archive."""
        where = Conditions(self._database)
        rows = self._calls(asked.query, where, _columns(asked))
        found = self._connection.rows(_figures(asked, rows), where.values, interrupt)
        if not found:
            return v1.GetStatsResponse()
        period = self._period(found, asked, rows, where.values, interrupt)
        made = [_row(asked, row, period) for row in found[: asked.most]]
        return v1.GetStatsResponse(rows=made, is_cut=len(found) > asked.most)

    def _period(
        self,
        found: Sequence[tuple[Any, ...]],
        asked: StatsQuery,
        rows: str,
        values: dict[str, Any],
        interrupt: Interrupt,
    ) -> tuple[int, int]:
        """When the first of all calls started, and the last."""
        if len(found) > asked.most:
            [(_, first, last)] = self._connection.rows(_PERIOD.format(rows=rows), values, interrupt)
            return first, last
        at = len(asked.group_by) + 4
        return min(row[at] for row in found), max(row[at + 1] for row in found)

    def _calls(self, query: Query, where: Conditions, wanted: Sequence[str]) -> str:
        """A subquery of one row for each call that matches, with these columns; its values go into `where`.

        What is looked for is the same in all rows that are one: so it is looked for before they are made one.
        """
        of_all, of_row = Conditions(self._database), Conditions(self._database)
        of_all.values = of_row.values = where.values
        of_all.of_all(query)
        of_row.of_row(query)
        columns = ", ".join(wanted)
        joined = ", ".join(f"{_joined(name)} AS joined_{name}" for name in _ROW)
        renamed = ", ".join(f"joined_{name} AS {name}" for name in _ROW)
        whole = (
            f"SELECT {columns} FROM {self._database}.records FINAL "
            f"PREWHERE NOT is_segment AND {of_all} AND {of_row}"
        )
        segments = (
            f"SELECT {columns} FROM (SELECT {renamed} FROM (SELECT {joined} "
            f"FROM {self._database}.records FINAL PREWHERE is_segment AND {of_all} "
            f"GROUP BY spool_id, call_id, start_ns)) WHERE {of_row}"
        )
        return f"{whole} UNION ALL {segments}"


def _joined(name: str) -> str:
    if name == "redaction_classes":
        return "arraySort(groupUniqArrayArray(redaction_classes))"
    if name in _FIRST_SAID:
        return f"argMinIf({name}, sequence, {name} <> '')"
    if name in _LATEST_SAID:
        return f"argMaxIf({name}, sequence, {name} IS NOT NULL)"
    if name == "finish_reasons":
        return "argMaxIf(finish_reasons, sequence, notEmpty(finish_reasons))"
    # A null is a value here: what the latest segment doesn't say, the call doesn't say.
    return f"tupleElement(argMax(tuple({name}), sequence), 1)"


def _columns(asked: StatsQuery) -> list[str]:
    """What the figures are made of; what else there is need not be read."""
    keys = [_DIMENSIONS[each] for each in asked.group_by if each != Dimension.TIME]
    return list(dict.fromkeys(("start_ns", "state", "sampling_fraction", *MEASURES, *keys)))


def _key(asked: StatsQuery, dimension: int) -> str:
    if dimension == Dimension.TIME:
        return f"start_ns - positiveModulo(start_ns, {asked.bucket_ns:d})"
    return _DIMENSIONS[dimension]


def _figures(asked: StatsQuery, rows: str) -> str:
    """The statement that counts `rows`, a row for each group."""
    names = "".join(f"key_{n}, " for n in range(len(asked.group_by)))
    keys = "".join(f"{_key(asked, each)} AS key_{n}, " for n, each in enumerate(asked.group_by))
    buckets = _BUCKETS.format(
        keys=keys,
        names=names,
        bucket=f"toUInt32(floor(log(toFloat64(measured.2) + 1) * {FINENESS}))",
        values=", ".join(f"({n}, ifNull({name}, -1))" for n, name in enumerate(MEASURES, 1)),
        failed=v1.FAILED,
        cancelled=v1.CANCELLED,
        weight=_WEIGHT,
        rows=rows,
    )
    numbers = range(1, len(MEASURES) + 1)
    groups = _GROUPS.format(
        names=names,
        measures=", ".join(_GROUP.format(n=n) for n in numbers),
        buckets=buckets,
        by=f"GROUP BY {names.removesuffix(', ')}" if names else "",
        most=asked.most + 1,
    )
    measures = ", ".join(_MEASURE.format(n=n, shares=list(SHARES)) for n in numbers)
    return _FIGURES.format(names=names, measures=measures, groups=groups)


def _row(asked: StatsQuery, row: tuple[Any, ...], period: tuple[int, int]) -> v1.StatsRow:
    count = len(asked.group_by)
    figures = Figures(row[:count], *row[count : count + 4])
    at = count + 6
    measured = [_measured(*row[at + _PER_MEASURE * n :][:_PER_MEASURE]) for n in range(len(MEASURES))]
    return stats_row(asked, figures, measured, period)


def _measured(weight: float, total: float, largest: int, quantiles: Sequence[float]) -> Measured | None:
    """The figures of one measure; None where no row has it."""
    return Measured(total / weight, tuple(quantiles), largest, total) if weight else None
