"""Filtering: a RecordFilter, checked, and which records it lets through."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

from infertap import v1
from infertap.query.checks import (
    Span,
    read_duration_us,
    read_span,
    read_states,
    read_statuses,
    read_text,
    read_texts,
    read_time,
)
from infertap.query.errors import InvalidArgumentError
from infertap.query.feedback import FeedbackQuery
from infertap.query.ordering import LATEST_FIRST, TOKEN_COUNTS, Order, token_count

# A call that went with its relay has failed.
_IN_FLIGHT: Final = frozenset({v1.INFERENCING, v1.FAILED})
# States that records are left in.
_ENDS: Final = frozenset({v1.COMPLETED, v1.FAILED, v1.CANCELLED})
_TEXTS: Final = (
    "model",
    "model_version",
    "method",
    "path",
    "request_id",
    "user",
    "text",
    "cohort",
    "redaction_class",
    "error_type",
    "session",
    "application_version",
)
_PREFIXES: Final = ("path", "error_type")


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
    # All of these.
    tags: frozenset[str] = frozenset()
    cohort: str = ""
    redaction_class: str = ""
    # One of these.
    finish_reasons: frozenset[str] = frozenset()
    # A type, or its beginning.
    error_type: str = ""
    error_type_is_prefix: bool = False
    input_tokens: Span | None = None
    output_tokens: Span | None = None
    total_tokens: Span | None = None
    session: str = ""
    application_version: str = ""
    # Whose records; None: everyone's. Never asked for: who asks has one, or may see all.
    tenant: str | None = None
    order: Order = LATEST_FIRST
    # Nanoseconds since the epoch: as things were then, without what was stored later; None: as they are.
    # Pages of one list have the same; `matches` does not look at it.
    as_of_ns: int | None = None

    @classmethod
    def of(cls, asked: v1.RecordFilter, order_by: str = "", tenant: str | None = None) -> "Query":
        """`asked` in the order of `order_by`, checked; raises InvalidArgumentError that names the field."""
        made = cls(
            **_times(asked),
            **_texts(asked),
            **_lists(asked),
            **_spans(asked),
            feedback=FeedbackQuery.of(asked.feedback) if asked.HasField("feedback") else None,
            tenant=tenant,
            order=Order.of(order_by),
        )
        if v1.INFERENCING in made.states and made.order != LATEST_FIRST:
            raise InvalidArgumentError("order_by", "calls in flight are listed latest start first, only")
        return made

    @property
    def wants_in_flight(self) -> bool:
        """Whether a list shows calls in flight too, or those just lost: only where it names their state."""
        return bool(self.states & _IN_FLIGHT) and self.order == LATEST_FIRST

    @property
    def wants_records(self) -> bool:
        """Whether a list shows more than calls in flight."""
        return self.states != {v1.INFERENCING}

    @property
    def digest(self) -> bytes:
        """8 bytes that tell this query, its order and whose it is from others; not as of when it is."""
        values = [sorted(value) if isinstance(value, frozenset) else value for value in _values(self)]
        return sha256(repr(values).encode()).digest()[:8]

    def leaves_out_nothing(self, now_ns: int) -> bool:
        """Whether it lets through all that has begun by `now_ns`, though it may look like a filter: since
        1970, a path `*`, every state.
        """
        bare = replace(
            self,
            start_ns=None if (self.start_ns or 0) <= 0 else self.start_ns,
            end_ns=None if self.end_ns is None or self.end_ns > now_ns else self.end_ns,
            path_is_prefix=self.path_is_prefix and bool(self.path),
            error_type_is_prefix=self.error_type_is_prefix and bool(self.error_type),
            states=frozenset() if self.states >= _ENDS else self.states,
        )
        return bare == Query(tenant=self.tenant, order=self.order)

    def matches(self, record: v1.Record) -> bool:
        """Whether `record`, its feedback joined, is asked for. The text comes last: it costs the most."""
        return (
            self._matches_when(record)
            and self._matches_what(record)
            and self._matches_who(record)
            and self._matches_answer(record)
            and (self.feedback is None or self.feedback.matches(record.feedback))
            and self._matches_text(record)
        )

    def _matches_when(self, record: v1.Record) -> bool:
        start = record.timing.start.ToNanoseconds()
        return (
            (self.start_ns is None or start >= self.start_ns)
            and (self.end_ns is None or start < self.end_ns)
            and (not self.min_duration_us or record.timing.duration_us >= self.min_duration_us)
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
            and _is(record.path, self.path, self.path_is_prefix)
            and (not self.request_id or record.request_id == self.request_id)
        )

    def _matches_who(self, record: v1.Record) -> bool:
        return (
            (self.tenant is None or record.tenant == self.tenant)
            and (not self.user or record.caller.user == self.user)
            and (not self.session or record.caller.session == self.session)
            and (not self.cohort or record.cohort == self.cohort)
            and (not self.application_version or record.application_version == self.application_version)
            and (not self.tags or self.tags.issubset(record.tags))
        )

    def _matches_answer(self, record: v1.Record) -> bool:
        return (
            _is(record.error.type, self.error_type, self.error_type_is_prefix)
            and (not self.finish_reasons or not self.finish_reasons.isdisjoint(record.model.finish_reasons))
            and all(span.holds(token_count(record.model, key)) for key, span in self.token_spans)
            and (not self.redaction_class or self.redaction_class in redaction_classes(record))
        )

    @property
    def token_spans(self) -> list[tuple[str, Span]]:
        """Which counts of tokens are asked for, by name."""
        spans = ((name, getattr(self, name)) for name in TOKEN_COUNTS)
        return [(name, span) for name, span in spans if span is not None]

    def _matches_text(self, record: v1.Record) -> bool:
        if not self.text:
            return True
        return any(self.text in text for text in searched_texts(record))


def may_hold(encoded: bytes, text: str) -> bool:
    """Whether a record that is encoded so, and no segment, may be found by `text`, which is case-folded;
    without taking it apart. What its bodies say stands in its bytes as it is.
    """
    # Bytes that are no text read otherwise within a record than alone.
    return "\ufffd" in text or text in encoded.decode("utf-8", "replace").casefold()


def searched_texts(record: v1.Record) -> Iterable[str]:
    """What a text is looked for in, case-folded: both bodies, as they came and as they are shown."""
    for payload in (record.request, record.response):
        yield payload.data.decode("utf-8", "replace").casefold()
        yield payload.decoded_json.casefold()


def redaction_classes(record: v1.Record) -> set[str]:
    """Of what was redacted, in either direction."""
    sides = (record.request.redactions, record.response.redactions)
    return {getattr(each, "class") for side in sides for each in side}


def _is(text: str, wanted: str, is_prefix: bool) -> bool:
    return text.startswith(wanted) if is_prefix else not wanted or text == wanted


def _values(query: Query) -> list[object]:
    return [getattr(query, name) for name in Query.__slots__ if name != "as_of_ns"]


def _times(asked: v1.RecordFilter) -> dict[str, Any]:
    start = read_time("filter.start_time", asked.start_time) if asked.HasField("start_time") else None
    end = read_time("filter.end_time", asked.end_time) if asked.HasField("end_time") else None
    if start is not None and end is not None and end <= start:
        raise InvalidArgumentError("filter.end_time", "not after start_time")
    shortest = read_duration_us("filter.min_duration", asked.min_duration)
    return {"start_ns": start, "end_ns": end, "min_duration_us": shortest}


def _texts(asked: v1.RecordFilter) -> dict[str, Any]:
    texts = {name: read_text(f"filter.{name}", getattr(asked, name)) for name in _TEXTS}
    prefixes = {f"{name}_is_prefix": texts[name].endswith("*") for name in _PREFIXES}
    bare = {name: texts[name].removesuffix("*") for name in _PREFIXES}
    return texts | bare | prefixes | {"text": texts["text"].casefold()}


def _spans(asked: v1.RecordFilter) -> dict[str, Any]:
    return {
        name: read_span(f"filter.{name}", getattr(asked, name))
        for name in TOKEN_COUNTS
        if name in {field.name for field, _ in asked.ListFields()}
    }


def _lists(asked: v1.RecordFilter) -> dict[str, Any]:
    return {
        "states": read_states("filter.states", asked.states),
        "http_statuses": read_statuses("filter.http_statuses", asked.http_statuses, 0, 999),
        "grpc_statuses": read_statuses("filter.grpc_statuses", asked.grpc_statuses, 0, 16),
        "tags": read_texts("filter.tags", asked.tags),
        "finish_reasons": read_texts("filter.finish_reasons", asked.finish_reasons),
    }
