"""Filters: what the arguments of a client mean, as messages of the contract. Pure.

Times also as datetime, durations as timedelta, enums by name, ranges as two numbers. Whatever is nothing for
its field is an InvalidRequestError that names the field, before anything is sent.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from infertap import v1
from infertap.client.errors import InvalidRequestError


def make_filter(base: v1.RecordFilter | None = None, **conditions: Any) -> v1.RecordFilter:
    """A filter of `base` and `conditions`; raises InvalidRequestError for a field that no filter has."""
    made = v1.RecordFilter()
    if base is not None:
        made.CopyFrom(base)
    for name, value in conditions.items():
        if name not in v1.RecordFilter.DESCRIPTOR.fields_by_name:
            known = ", ".join(v1.RecordFilter.DESCRIPTOR.fields_by_name)
            raise InvalidRequestError(f"{name}: no such condition; there are {known}")
        try:
            _set(made, name, value)
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(f"{name}: {error}") from None
    return made


def _set(made: v1.RecordFilter, name: str, value: Any) -> None:
    """Set one field; raises TypeError or ValueError where `value` is nothing for it."""
    if name in ("start_time", "end_time"):
        getattr(made, name).CopyFrom(_timestamp(value))
    elif name == "feedback":
        made.feedback.CopyFrom(_feedback(value))
    elif name.endswith("_tokens"):
        getattr(made, name).CopyFrom(_range(value))
    elif name == "min_duration":
        made.min_duration.CopyFrom(duration(value))
    elif made.DESCRIPTOR.fields_by_name[name].is_repeated:
        if not isinstance(value, list | tuple | set | frozenset):
            raise TypeError("expected a list")
        getattr(made, name).extend(_state(each) if name == "states" else each for each in value)
    else:
        setattr(made, name, value)


def _timestamp(value: Any) -> Timestamp:
    if isinstance(value, Timestamp):
        return value
    if not isinstance(value, datetime):
        raise TypeError("expected a datetime")
    stamp = Timestamp()
    # One without a zone is local time.
    stamp.FromDatetime(value.astimezone(UTC))
    return stamp


def duration(value: Any) -> Duration:
    if isinstance(value, Duration):
        return value
    if not isinstance(value, timedelta):
        raise TypeError("expected a timedelta")
    duration = Duration()
    duration.FromTimedelta(value)
    return duration


def _range(value: Any) -> v1.CountRange:
    if isinstance(value, v1.CountRange):
        return value
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError("expected the least and the most, or a CountRange")
    return v1.CountRange(min=value[0], max=value[1])


def dimension(name: str) -> "v1.GetStatsRequest.Dimension.ValueType":
    known = [each for each, number in v1.GetStatsRequest.Dimension.items() if number]
    if name.upper() not in known:
        raise InvalidRequestError(f"by: no {name!r}; there are {', '.join(known).lower()}")
    return v1.GetStatsRequest.Dimension.Value(name.upper())


def _feedback(value: Any) -> v1.FeedbackFilter:
    if isinstance(value, bool):
        return v1.FeedbackFilter(is_absent=not value)
    if not isinstance(value, v1.FeedbackFilter):
        raise TypeError("expected True, False or a FeedbackFilter")
    return value


def _state(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    names = [name.lower() for name, number in v1.State.items() if number]
    if value.lower() not in names:
        raise ValueError(f"no state {value!r}; there are {', '.join(names)}")
    return v1.State.Value(value.upper())
