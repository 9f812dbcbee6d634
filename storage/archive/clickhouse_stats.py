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
    Dimension.MODEL: "toString(model)",
    Dimension.MODEL_VERSION: "toString(model_version)",
    Dimension.METHOD: "toString(method)",
    Dimension.PATH: "path",
    Dimension.STATE: "state",
    Dimension.HTTP_STATUS: "http_status",
    Dimension.GRPC_STATUS: "grpc_status",
    Dimension.COHORT: "toString(cohort)",
    Dimension.ERROR_TYPE: "toString(error_type)",
    Dimension.APPLICATION_VERSION: "toString(application_version)",
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
_FIGURES: Final = """
SELECT {keys} count() AS records, sum(weight) AS calls, sumIf(weight, state = {failed}) AS failed,
    sumIf(weight, state = {cancelled}) AS cancelled, min(start_ns), max(start_ns), {measures}
FROM (SELECT *, {weight} AS weight FROM ({rows}))
{by} ORDER BY calls DESC LIMIT {most:d}
"""
# The largest value of each bucket, and the weight of all values in it.
_MEASURE: Final = (
    "sumIf(toFloat64({name}) * weight, {name} >= 0), "
    "mapSort(sumMapIf(map({bucket}, weight), {name} >= 0)), "
    "mapSort(maxMapIf(map({bucket}, {name}), {name} >= 0))"
)
_PERIOD: Final = "SELECT count(), min(start_ns), max(start_ns) FROM ({rows})"


class Statistics:
    """Counts. Safe from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._database = connection.location.database

    def count(self, query: Query, interrupt: Interrupt) -> int:
        """See Archive."""
        where = Conditions(self._database)
        statement = f"SELECT count() FROM ({self._calls(query, where)})"
        return int(self._connection.rows(statement, where.values, interrupt)[0][0])

    def stats(self, asked: StatsQuery, interrupt: Interrupt) -> v1.GetStatsResponse:
        """See Archive."""
        where = Conditions(self._database)
        rows = self._calls(asked.query, where)
        keys = [_key(asked, dimension) for dimension in asked.group_by]
        measures = ", ".join(_MEASURE.format(name=name, bucket=_bucket(name)) for name in MEASURES)
        found = self._connection.rows(
            _FIGURES.format(
                keys="".join(f"{key}, " for key in keys),
                by=f"GROUP BY {', '.join(keys)}" if keys else "",
                failed=v1.FAILED,
                cancelled=v1.CANCELLED,
                measures=measures,
                weight=_WEIGHT,
                rows=rows,
                most=asked.most + 1,
            ),
            where.values,
            interrupt,
        )
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

    def _calls(self, query: Query, where: Conditions) -> str:
        """A subquery of one row for each call that matches; its values go into `where`."""
        of_all, of_row = Conditions(self._database), Conditions(self._database)
        of_all.values = of_row.values = where.values
        of_all.of_all(query)
        of_row.of_row(query)
        columns = ", ".join(_ROW)
        joined = ", ".join(f"{_joined(name)} AS joined_{name}" for name in _ROW)
        renamed = ", ".join(f"joined_{name} AS {name}" for name in _ROW)
        whole = (
            f"SELECT {columns} FROM {self._database}.records FINAL "
            f"WHERE NOT is_segment AND {of_all} AND {of_row}"
        )
        segments = (
            f"SELECT {columns} FROM (SELECT {renamed} FROM (SELECT {joined} "
            f"FROM {self._database}.records FINAL WHERE is_segment AND {of_all} "
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


def _key(asked: StatsQuery, dimension: int) -> str:
    if dimension == Dimension.TIME:
        return f"start_ns - positiveModulo(start_ns, {asked.bucket_ns:d})"
    return _DIMENSIONS[dimension]


def _bucket(name: str) -> str:
    """See infertap.query.stats."""
    return f"toUInt32(floor(log(toFloat64(greatest(ifNull({name}, 0), 0)) + 1) * {FINENESS}))"


def _row(asked: StatsQuery, row: tuple[Any, ...], period: tuple[int, int]) -> v1.StatsRow:
    count = len(asked.group_by)
    records, calls, failed, cancelled = row[count : count + 4]
    figures = Figures(row[:count], records, calls, failed, cancelled)
    at = count + 6
    measured = [_measured(*row[at + 3 * n : at + 3 * n + 3]) for n in range(len(MEASURES))]
    return stats_row(asked, figures, measured, period)


def _measured(total: float, weights: dict[int, float], largest: dict[int, int]) -> Measured | None:
    """The figures of one measure: from each bucket's weight and largest value, in ascending order."""
    if not weights:
        return None
    ordered = [(largest[bucket], weight) for bucket, weight in sorted(weights.items())]
    weight = sum(each for _, each in ordered)
    return Measured(total / weight, tuple(_quantiles(ordered, weight)), ordered[-1][0], total)


def _quantiles(ordered: Sequence[tuple[int, float]], total: float) -> list[float]:
    """The smallest value that has such a share of the weight at or below it, for each of SHARES."""
    found: list[float] = []
    reached, place = ordered[0][1], 0
    for share in SHARES:
        while reached < share * total and place + 1 < len(ordered):
            place += 1
            reached += ordered[place][1]
        found.append(ordered[place][0])
    return found
