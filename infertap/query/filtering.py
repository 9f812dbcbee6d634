"""Filtering: a RecordFilter, checked, and which records it lets through."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from infertap import v1
from infertap.query.errors import InvalidArgumentError
from infertap.query.feedback import FeedbackQuery

_TEXT_MOST: Final = 1024
_LIST_MOST: Final = 100
# 0001-01-01 to 9999-12-31 (google/protobuf/timestamp.proto).
_FIRST_SECOND: Final = -62_135_596_800
_LAST_SECOND: Final = 253_402_300_799
_NANOS: Final = 1_000_000_000
# A call that went with its relay has failed.
_IN_FLIGHT: Final = frozenset({v1.INFERENCING, v1.FAILED})


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for. None and empty mean: whatever."""

    # Nanoseconds since the epoch: from start, up to but not including end.
    start_ns: int | None = None
    end_ns: int | None = None
    model: str = ""
    model_version: str = ""
    states: frozenset[int] = frozenset()
    http_statuses: frozenset[int] = frozenset()
    grpc_statuses: frozenset[int] = frozenset()
    method: str = ""
    # A path, or its beginning.
    path: str = ""
    path_is_prefix: bool = False
    min_duration_us: int = 0
    request_id: str = ""
    user: str = ""
    # Case-folded.
    text: str = ""
    feedback: FeedbackQuery | None = None

    @classmethod
    def of(cls, asked: v1.RecordFilter) -> "Query":
        """`asked`, checked; raises InvalidArgumentError that names the field."""
        for name in ("model", "model_version", "method", "path", "request_id", "user", "text"):
            if len(getattr(asked, name)) > _TEXT_MOST:
                raise InvalidArgumentError(f"filter.{name}", f"longer than {_TEXT_MOST} characters")
        start = _time("filter.start_time", asked.start_time) if asked.HasField("start_time") else None
        end = _time("filter.end_time", asked.end_time) if asked.HasField("end_time") else None
        if start is not None and end is not None and end <= start:
            raise InvalidArgumentError("filter.end_time", "not after start_time")
        return cls(
            start_ns=start,
            end_ns=end,
            model=asked.model,
            model_version=asked.model_version,
            states=_states(asked.states),
            http_statuses=_statuses("filter.http_statuses", asked.http_statuses, 0, 999),
            grpc_statuses=_statuses("filter.grpc_statuses", asked.grpc_statuses, 0, 16),
            method=asked.method,
            path=asked.path.removesuffix("*"),
            path_is_prefix=asked.path.endswith("*"),
            min_duration_us=_duration_us("filter.min_duration", asked.min_duration),
            request_id=asked.request_id,
            user=asked.user,
            text=asked.text.casefold(),
            feedback=FeedbackQuery.of(asked.feedback) if asked.HasField("feedback") else None,
        )

    @property
    def wants_in_flight(self) -> bool:
        """Whether a list shows calls in flight too, or those just lost: only where it names their state."""
        return bool(self.states & _IN_FLIGHT)

    @property
    def wants_records(self) -> bool:
        """Whether a list shows more than calls in flight."""
        return self.states != {v1.INFERENCING}

    @property
    def digest(self) -> bytes:
        """8 bytes that tell this query from others."""
        values = [sorted(value) if isinstance(value, frozenset) else value for value in _values(self)]
        return sha256(repr(values).encode()).digest()[:8]

    def matches(self, record: v1.Record) -> bool:
        """Whether `record`, its feedback joined, is asked for. The text comes last: it costs the most."""
        return (
            self._matches_when(record)
            and self._matches_what(record)
            and (self.feedback is None or self.feedback.matches(record.feedback))
            and self._matches_text(record)
        )

    def _matches_when(self, record: v1.Record) -> bool:
        start = record.timing.start.ToNanoseconds()
        return (
            (self.start_ns is None or start >= self.start_ns)
            and (self.end_ns is None or start < self.end_ns)
            and record.timing.duration_us >= self.min_duration_us
        )

    def _matches_what(self, record: v1.Record) -> bool:
        return (
            (not self.model or record.model.name == self.model)
            and (not self.model_version or record.model.version == self.model_version)
            and (not self.states or record.state in self.states)
            and (not self.http_statuses or record.http_status in self.http_statuses)
            and (
                not self.grpc_statuses
                or (record.HasField("grpc_status") and record.grpc_status in self.grpc_statuses)
            )
            and (not self.method or record.method == self.method)
            and self._matches_path(record.path)
            and (not self.request_id or record.request_id == self.request_id)
            and (not self.user or record.caller.user == self.user)
        )

    def _matches_path(self, path: str) -> bool:
        return path.startswith(self.path) if self.path_is_prefix else not self.path or path == self.path

    def _matches_text(self, record: v1.Record) -> bool:
        if not self.text:
            return True
        return any(self.text in text for text in searched_texts(record))


def searched_texts(record: v1.Record) -> Iterable[str]:
    """What a text is looked for in, case-folded: both bodies, as they came and as they are shown."""
    for payload in (record.request, record.response):
        yield payload.data.decode("utf-8", "replace").casefold()
        yield payload.decoded_json.casefold()


def _values(query: Query) -> list[object]:
    return [getattr(query, name) for name in Query.__slots__]


def _time(field: str, time: Timestamp) -> int:
    if not (_FIRST_SECOND <= time.seconds <= _LAST_SECOND and 0 <= time.nanos < _NANOS):
        raise InvalidArgumentError(field, "not a time between the years 1 and 9999")
    return time.seconds * _NANOS + time.nanos


def _duration_us(field: str, duration: Duration) -> int:
    if duration.seconds < 0 or duration.nanos < 0:
        raise InvalidArgumentError(field, "below zero")
    if duration.seconds > 315_576_000_000 or duration.nanos >= _NANOS:
        raise InvalidArgumentError(field, "not a duration of at most 10,000 years")
    return duration.seconds * 1_000_000 + duration.nanos // 1000


def _states(asked: Iterable[int]) -> frozenset[int]:
    states = frozenset(asked)
    known = set(v1.State.values()) - {0}
    if not states <= known:
        names = ", ".join(v1.State.Name(each) for each in sorted(known))
        raise InvalidArgumentError("filter.states", f"expected some of {names}")
    return states


def _statuses(field: str, asked: Iterable[int], low: int, high: int) -> frozenset[int]:
    statuses = frozenset(asked)
    if len(statuses) > _LIST_MOST:
        raise InvalidArgumentError(field, f"more than {_LIST_MOST} of them")
    if any(not low <= each <= high for each in statuses):
        raise InvalidArgumentError(field, f"expected numbers from {low} to {high}")
    return statuses
