"""Asked: what the address of the page asks for, and the filter that it means. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from infertap import v1
from infertap.query import InvalidArgumentError

_STATES: Final = ("INFERENCING", "COMPLETED", "FAILED", "CANCELLED")
_ORDERS: Final = ("", "start_time", "duration desc", "total_tokens desc")
# Those that a filter has by the same name.
_TEXTS: Final = (
    "model",
    "model_version",
    "path",
    "text",
    "request_id",
    "user",
    "session",
    "cohort",
    "application_version",
    "error_type",
    "redaction_class",
)
_MOST_MS: Final = 1e12


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for, as it says it."""

    state: str = ""
    model: str = ""
    model_version: str = ""
    path: str = ""
    text: str = ""
    request_id: str = ""
    user: str = ""
    session: str = ""
    cohort: str = ""
    application_version: str = ""
    error_type: str = ""
    redaction_class: str = ""
    # Several are parted by commas.
    tags: str = ""
    finish_reasons: str = ""
    # RFC 3339, or its beginning; UTC where it names no zone.
    since: str = ""
    until: str = ""
    # Milliseconds.
    min_duration: str = ""
    # Of both sides.
    min_tokens: str = ""
    order: str = ""
    page: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Asked":
        """From the address' query; what is unknown is passed over."""
        return cls(**{field.name: query.get(field.name, "").strip() for field in fields(cls)})

    @property
    def is_special(self) -> bool:
        """Whether it asks for more than the first row of the form offers."""
        plain = ("state", "model", "path", "text", "page")
        return any(value for name, value in self._all().items() if name not in plain)

    def filter(self) -> v1.RecordFilter:
        """As the API would be asked; raises InvalidArgumentError."""
        made = v1.RecordFilter(
            states=[v1.State.Value(self.state)] if self.state in _STATES else [],
            tags=_several(self.tags),
            finish_reasons=_several(self.finish_reasons),
            **{name: getattr(self, name) for name in _TEXTS},
        )
        if self.since:
            made.start_time.CopyFrom(_time("since", self.since))
        if self.until:
            made.end_time.CopyFrom(_time("until", self.until))
        if self.min_duration:
            made.min_duration.CopyFrom(_milliseconds("min_duration", self.min_duration))
        if self.min_tokens:
            made.total_tokens.min = _count("min_tokens", self.min_tokens)
        return made

    @property
    def order_by(self) -> str:
        """As the API would be asked."""
        return self.order if self.order in _ORDERS else ""

    def address(self, page: str = "") -> str:
        """The query that asks for the same, from that page on."""
        return urlencode({name: value for name, value in (self._all() | {"page": page}).items() if value})

    def _all(self) -> dict[str, str]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _several(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _time(field: str, text: str) -> Timestamp:
    stamp = Timestamp()
    try:
        moment = datetime.fromisoformat(text)
        stamp.FromDatetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise InvalidArgumentError(field, "expected a time such as 2026-01-31T12:00") from None
    return stamp


def _milliseconds(field: str, text: str) -> Duration:
    duration = Duration()
    try:
        milliseconds = float(text)
    except ValueError:
        milliseconds = math.nan
    if not 0 <= milliseconds <= _MOST_MS:
        raise InvalidArgumentError(field, "expected milliseconds")
    duration.FromMicroseconds(round(milliseconds * 1000))
    return duration


def _count(field: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise InvalidArgumentError(field, "expected a whole number")
    return int(text)
