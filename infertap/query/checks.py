"""Checks: the values of a request's fields, read as what they mean, or refused by the field's name. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from infertap import v1
from infertap.query.errors import InvalidArgumentError

_TEXT_MOST: Final = 1024
_LIST_MOST: Final = 100
# 0001-01-01 to 9999-12-31 (google/protobuf/timestamp.proto).
_FIRST_SECOND: Final = -62_135_596_800
_LAST_SECOND: Final = 253_402_300_799
_NANOS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Span:
    """Whole numbers from `low` to `high`, both inclusive; None is open."""

    low: int | None = None
    high: int | None = None

    def holds(self, number: int | None) -> bool:
        """Whether `number` is in it; what is not known is in none."""
        return (
            number is not None
            and (self.low is None or number >= self.low)
            and (self.high is None or number <= self.high)
        )


def read_text(field: str, text: str) -> str:
    """`text`, which is of bounded length; raises InvalidArgumentError."""
    if len(text) > _TEXT_MOST:
        raise InvalidArgumentError(field, f"longer than {_TEXT_MOST} characters")
    return text


def read_texts(field: str, texts: Iterable[str]) -> frozenset[str]:
    """So many texts at most, none of them empty; raises InvalidArgumentError."""
    found = frozenset(texts)
    if len(found) > _LIST_MOST:
        raise InvalidArgumentError(field, f"more than {_LIST_MOST} of them")
    if "" in found:
        raise InvalidArgumentError(field, "an empty one")
    return frozenset(read_text(field, each) for each in found)


def read_time(field: str, time: Timestamp) -> int:
    """Nanoseconds since the epoch; raises InvalidArgumentError."""
    if not (_FIRST_SECOND <= time.seconds <= _LAST_SECOND and 0 <= time.nanos < _NANOS):
        raise InvalidArgumentError(field, "not a time between the years 1 and 9999")
    return time.seconds * _NANOS + time.nanos


def read_duration_us(field: str, duration: Duration) -> int:
    """Microseconds; raises InvalidArgumentError."""
    if duration.seconds < 0 or duration.nanos < 0:
        raise InvalidArgumentError(field, "below zero")
    if duration.seconds > 315_576_000_000 or duration.nanos >= _NANOS:
        raise InvalidArgumentError(field, "not a duration of at most 10,000 years")
    return duration.seconds * 1_000_000 + duration.nanos // 1000


def read_states(field: str, asked: Iterable[int]) -> frozenset[int]:
    """Of v1.State; raises InvalidArgumentError."""
    states = frozenset(asked)
    known = set(v1.State.values()) - {0}
    if not states <= known:
        names = ", ".join(v1.State.Name(each) for each in sorted(known))
        raise InvalidArgumentError(field, f"expected some of {names}")
    return states


def read_statuses(field: str, asked: Iterable[int], low: int, high: int) -> frozenset[int]:
    """Numbers from `low` to `high`; raises InvalidArgumentError."""
    statuses = frozenset(asked)
    if len(statuses) > _LIST_MOST:
        raise InvalidArgumentError(field, f"more than {_LIST_MOST} of them")
    if any(not low <= each <= high for each in statuses):
        raise InvalidArgumentError(field, f"expected numbers from {low} to {high}")
    return statuses


def read_span(field: str, asked: v1.CountRange) -> Span:
    """A range that something can be in; raises InvalidArgumentError."""
    low = asked.min if asked.HasField("min") else None
    high = asked.max if asked.HasField("max") else None
    if min(low or 0, high or 0) < 0:
        raise InvalidArgumentError(field, "below zero")
    if low is not None and high is not None and high < low:
        raise InvalidArgumentError(f"{field}.max", "below min")
    return Span(low, high)
