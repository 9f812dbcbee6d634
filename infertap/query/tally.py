"""Tally: statistics made record by record, where no engine makes them. Pure; memory is bounded.

A measure's values are counted in buckets, each of which stands for the largest value in it.
"""

from collections.abc import Callable, Iterator
from math import floor, log
from typing import Final

from infertap import v1
from infertap.query.stats import (
    FINENESS,
    LEAST_FRACTION,
    MEASURES,
    SHARES,
    Dimension,
    Figures,
    Measured,
    StatsQuery,
    stats_row,
)

_MOST_BUCKETS: Final = 100_000
_DIMENSIONS: Final[dict[int, Callable[[v1.Record], str | int | None]]] = {
    Dimension.MODEL: lambda record: record.model.name,
    Dimension.MODEL_VERSION: lambda record: record.model.version,
    Dimension.METHOD: lambda record: record.method,
    Dimension.PATH: lambda record: record.path,
    Dimension.STATE: lambda record: int(record.state),
    Dimension.HTTP_STATUS: lambda record: record.http_status,
    Dimension.GRPC_STATUS: lambda record: record.grpc_status if record.HasField("grpc_status") else None,
    Dimension.COHORT: lambda record: record.cohort,
    Dimension.ERROR_TYPE: lambda record: record.error.type,
    Dimension.APPLICATION_VERSION: lambda record: record.application_version,
}


class TooManyFiguresError(Exception):
    """There are more combinations, or different values, than are counted here."""


class Tally:
    """Counts the records of one question."""

    def __init__(self, asked: StatsQuery) -> None:
        self._asked = asked
        # Without dimensions there is one group, whatever is in it.
        self._groups: dict[tuple[str | int | None, ...], _Group] = {} if asked.group_by else {(): _Group()}
        self._buckets = 0
        self._first_ns: int | None = None
        self._last_ns = 0

    def add(self, record: v1.Record) -> None:
        """Count `record`, which matches. Raises TooManyFiguresError."""
        start_ns = record.timing.start.ToNanoseconds()
        is_first = self._first_ns is None
        self._first_ns = start_ns if self._first_ns is None else min(self._first_ns, start_ns)
        self._last_ns = start_ns if is_first else max(self._last_ns, start_ns)
        key = tuple(self._value(dimension, record) for dimension in self._asked.group_by)
        group = self._groups.setdefault(key, _Group())
        self._buckets += group.add(record)
        if len(self._groups) > self._asked.most or self._buckets > _MOST_BUCKETS:
            raise TooManyFiguresError

    def answer(self) -> v1.GetStatsResponse:
        """What was counted, groups with the most calls first."""
        found = sorted(self._groups.items(), key=lambda each: -each[1].calls)
        return v1.GetStatsResponse(rows=(self._row(key, group) for key, group in found))

    def _row(self, key: tuple[str | int | None, ...], group: "_Group") -> v1.StatsRow:
        figures = Figures(key, group.records, group.calls, group.failed, group.cancelled)
        measured = [each.measured() for each in group.measures]
        return stats_row(self._asked, figures, measured, (self._first_ns or 0, self._last_ns))

    def _value(self, dimension: int, record: v1.Record) -> str | int | None:
        if dimension == Dimension.TIME:
            start_ns = record.timing.start.ToNanoseconds()
            return start_ns - start_ns % self._asked.bucket_ns
        return _DIMENSIONS[dimension](record)


class _Group:
    """What was counted of one combination."""

    def __init__(self) -> None:
        self.records = 0
        self.calls = self.failed = self.cancelled = 0.0
        self.measures = [_Measure() for _ in MEASURES]

    def add(self, record: v1.Record) -> int:
        """Count a record; returns how many buckets are new."""
        fraction = record.sampling.fraction
        weight = 1 / max(fraction, LEAST_FRACTION) if 0 < fraction <= 1 else 1.0
        self.records += 1
        self.calls += weight
        if record.state == v1.FAILED:
            self.failed += weight
        elif record.state == v1.CANCELLED:
            self.cancelled += weight
        values = _values(record)
        return sum(each.add(value, weight) for each, value in zip(self.measures, values, strict=True))


class _Measure:
    """The values of one measure of one group."""

    def __init__(self) -> None:
        # By bucket: its largest value, and the weight of all.
        self._buckets: dict[int, tuple[int, float]] = {}
        self._weight = self._sum = 0.0

    def add(self, value: int, weight: float) -> bool:
        """Count a value, below zero none; whether its bucket is new."""
        if value < 0:
            return False
        self._weight += weight
        self._sum += value * weight
        bucket = floor(FINENESS * log(value + 1))
        largest, before = self._buckets.get(bucket, (value, 0.0))
        self._buckets[bucket] = max(largest, value), before + weight
        return before == 0

    def measured(self) -> Measured | None:
        """The figures; None where there are no values."""
        if not self._buckets:
            return None
        ordered = sorted(self._buckets.values())
        largest = ordered[-1][0]
        mean = self._sum / self._weight
        return Measured(mean, tuple(_quantiles(ordered, self._weight)), largest, self._sum)


def _quantiles(ordered: list[tuple[int, float]], total: float) -> Iterator[float]:
    """The value at each of SHARES."""
    reached, place = ordered[0][1], 0
    for share in SHARES:
        while reached < share * total and place + 1 < len(ordered):
            place += 1
            reached += ordered[place][1]
        yield ordered[place][0]


def _values(record: v1.Record) -> tuple[int, ...]:
    """In the order of MEASURES; below zero where there is none."""
    model, timing = record.model, record.timing
    return (
        timing.duration_us,
        timing.first_response_byte_us,
        model.input_tokens if model.HasField("input_tokens") else -1,
        model.output_tokens if model.HasField("output_tokens") else -1,
    )
