"""Stats: what statistics are asked for, and how figures become an answer; whoever counts. Pure.

Each record stands for 1 ÷ its `sampling.fraction` calls. A quantile is the smallest value that has such a
share of the calls at or below it. Values are counted in buckets, floor(FINENESS * ln(value + 1)), each of
which stands for the largest value in it: quantiles are exact below FINENESS, and at most half a percent above
the right value from there on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from infertap import v1
from infertap.query.checks import read_duration_us
from infertap.query.errors import InvalidArgumentError
from infertap.query.filtering import Query

Dimension = v1.GetStatsRequest.Dimension
GROUPS_MOST: Final = 10_000
# What is measured of calls, each a column and a field of StatsRow.
MEASURES: Final = ("duration_us", "first_byte_us", "input_tokens", "output_tokens")
SHARES: Final = (0.5, 0.9, 0.95, 0.99)
FINENESS: Final = 200
# No record stands for more calls.
LEAST_FRACTION: Final = 1e-9
_SECOND_NS: Final = 1_000_000_000
_YEAR_US: Final = 366 * 86_400 * 1_000_000
# 0001-01-01 and 10000-01-01.
_FIRST_NS: Final = -62_135_596_800 * _SECOND_NS
_END_NS: Final = 253_402_300_800 * _SECOND_NS


@dataclass(frozen=True, slots=True)
class StatsQuery:
    """Figures over the records that `query` matches, for each combination of what `group_by` names."""

    query: Query
    # Of GetStatsRequest.Dimension, none twice.
    group_by: tuple[int, ...] = ()
    # Of the dimension TIME; 0 without it.
    bucket_ns: int = 0
    # Combinations that are served: those with the most calls.
    most: int = GROUPS_MOST

    @classmethod
    def of(cls, asked: v1.GetStatsRequest, tenant: str | None = None) -> "StatsQuery":
        """`asked`, checked; raises InvalidArgumentError that names the field."""
        query = Query.of(asked.filter, tenant=tenant)
        if query.text:
            raise InvalidArgumentError("filter.text", "figures are made without reading texts")
        group_by = tuple(asked.group_by)
        if len(set(group_by)) < len(group_by) or not set(group_by) <= set(Dimension.values()) - {0}:
            names = ", ".join(name for name, number in Dimension.items() if number)
            raise InvalidArgumentError("group_by", f"expected some of {names}, none twice")
        bucket_us = read_duration_us("bucket", asked.bucket)
        if (Dimension.TIME in group_by) != asked.HasField("bucket"):
            raise InvalidArgumentError("bucket", "belongs to grouping by TIME, which needs it")
        if asked.HasField("bucket") and not 1_000_000 <= bucket_us <= _YEAR_US:
            raise InvalidArgumentError("bucket", "expected a second to a year")
        return cls(query, group_by, bucket_us * 1000)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was counted of one group. Weights say how many calls records stand for."""

    # In the order of `group_by`: texts, numbers, None where the record does not say it; TIME: the bucket's
    # first nanosecond.
    group: tuple[str | int | None, ...]
    records: int
    calls: float
    failed: float
    cancelled: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of one group: weighted; `quantiles` in the order of SHARES."""

    mean: float
    quantiles: tuple[float, ...]
    max: float
    sum: float


def stats_row(
    asked: StatsQuery, figures: Figures, measured: Sequence[Measured | None], period_ns: tuple[int, int]
) -> v1.StatsRow:
    """One row of an answer; `measured` in the order of MEASURES, None where nothing was.

    `period_ns` is when the first of all calls that match started, and the last.
    """
    row = v1.StatsRow(
        group=map(_label, asked.group_by, figures.group),
        records=figures.records,
        calls=figures.calls,
        calls_per_second=figures.calls / _seconds(asked, figures.group, *period_ns),
        failed=figures.failed,
        cancelled=figures.cancelled,
        error_share=figures.failed / figures.calls if figures.calls else 0,
    )
    for name, each in zip(MEASURES, measured, strict=True):
        if each is not None:
            p50, p90, p95, p99 = each.quantiles
            shown = v1.Quantiles(mean=each.mean, p50=p50, p90=p90, p95=p95, p99=p99, max=each.max)
            getattr(row, name).CopyFrom(shown)
            if name.endswith("_tokens"):
                setattr(row, f"{name}_sum", each.sum)
    return row


def _seconds(asked: StatsQuery, group: tuple[str | int | None, ...], first_ns: int, last_ns: int) -> float:
    """How long the time is that the group's calls are of: what was asked for, else from the first call to the
    last; of a bucket the part that is within what was asked for. A second at least.
    """
    query = asked.query
    first, end = query.start_ns, query.end_ns
    if asked.bucket_ns:
        bucket = group[asked.group_by.index(Dimension.TIME)]
        assert isinstance(bucket, int)
        bucket_end = bucket + asked.bucket_ns
        first = bucket if first is None else max(first, bucket)
        end = min(each for each in (end, query.as_of_ns, bucket_end) if each is not None)
    first = first_ns if first is None else first
    end = last_ns if end is None else end
    return max(end - first, _SECOND_NS) / _SECOND_NS


def _label(dimension: int, value: str | int | None) -> str:
    """How a value of a dimension is told; empty where there is none."""
    if dimension == Dimension.TIME:
        assert isinstance(value, int)
        return _time(value)
    if dimension == Dimension.STATE:
        names: dict[object, str] = {number: name for name, number in v1.State.items()}
        return names.get(value, str(value))
    if dimension == Dimension.HTTP_STATUS:
        return str(value or "")
    return "" if value is None else str(value)


def _time(nanoseconds: int) -> str:
    """RFC 3339, to the second."""
    within = min(max(nanoseconds, _FIRST_NS), _END_NS - _SECOND_NS)
    return f"{datetime.fromtimestamp(within // _SECOND_NS, UTC):%Y-%m-%dT%H:%M:%SZ}"
