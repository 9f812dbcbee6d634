"""Elasticsearch documents: what a record is as a document of a search engine. Pure.

A flat document, its fields by the names of the columns of exports (docs/export.md), and `@timestamp`, which
data streams want. What a record does not say is left out. The fields that are asked about have a type in
docs/examples/elasticsearch-template.json.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from operator import attrgetter
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from infertap import v1
from infertap.names import name_of
from storage.sinks.interface import record_id
from storage.sinks.payload_texts import text_of

Read = Callable[[Any], Any]
# What names of indexes may not have (Elasticsearch's "Create index"), and what would select several.
_NOT_IN_NAMES: Final = str.maketrans(dict.fromkeys('\\/*?"<>| ,#:', "_"))
# A tenant's name may begin so, an index's may not; with a dot it would be a hidden one.
_NOT_FIRST: Final = ("-", "_", "+", ".")
_MOST_NAME_BYTES: Final = 255
# Between a call's start and its storing: an outage may take days, and calls that last do.
_FARTHEST_SECONDS: Final = 35 * 86_400
_BEGINNING: Final = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Form:
    """`index` may have {day}, {month} and {tenant}. Of bodies so many bytes are shown; with 0 none, and no
    messages of errors, which are read out of them.
    """

    index: str
    payload_bytes: int = 0


def to_lines(records: Sequence[v1.Record], form: Form) -> bytes:
    """The body of a bulk request: for each record an action that creates it by its id, and its document."""
    lines: list[str] = []
    for record in records:
        action = {"create": {"_index": index_of(record, form.index), "_id": record_id(record)}}
        lines += [_dumped(action), _dumped(to_document(record, form.payload_bytes))]
    return "".join(f"{each}\n" for each in lines).encode()


def index_of(record: v1.Record, pattern: str) -> str:
    """Where a record belongs: always the same place, so that a repeat meets itself."""
    day = _day(record)
    tenant = (record.tenant or "none").lower().translate(_NOT_IN_NAMES)
    name = pattern.format(day=f"{day:%Y.%m.%d}", month=f"{day:%Y.%m}", tenant=tenant)
    if name.startswith(_NOT_FIRST):
        name = f"t{name}"
    return name.encode()[:_MOST_NAME_BYTES].decode(errors="ignore")


def to_document(record: v1.Record, payload_bytes: int = 0) -> dict[str, Any]:
    """The document."""
    told = {"@timestamp": _rfc3339(record.timing.start) or _rfc3339(record.stored_at) or _BEGINNING}
    told |= {name: value for name, read in _FIELDS.items() if (value := read(record)) not in (None, "", [])}
    if payload_bytes:
        told |= {name: text for name, read in _TEXTS_OF_BODIES.items() if (text := read(record))}
        told |= dict(_bodies(record, payload_bytes))
    return told


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _bodies(record: v1.Record, most: int) -> Iterator[tuple[str, Any]]:
    for side, payload in (("request", record.request), ("response", record.response)):
        text, is_cut = text_of(payload, most)
        if text:
            yield f"{side}_text", text
        if is_cut:
            yield f"{side}_text_cut", True


def _plain(parent: str, *names: str, prefix: str = "") -> Iterator[tuple[str, Read]]:
    """Fields as they are: texts, numbers, whether something is so."""
    for name in names:
        yield f"{prefix}{name}", attrgetter(f"{parent}.{name}" if parent else name)


def _listed(parent: str, *names: str) -> Iterator[tuple[str, Read]]:
    for name, read in _plain(parent, *names):
        yield name, _list(read)


def _list(read: Read) -> Read:
    return lambda record: list(read(record))


def _if_told(parent: str, *names: str) -> Iterator[tuple[str, Read]]:
    for name in names:
        yield name, _optional(attrgetter(parent) if parent else lambda record: record, name)


def _optional(within: Read, name: str) -> Read:
    def read(record: v1.Record) -> Any:
        message = within(record)
        return getattr(message, name) if message.HasField(name) else None

    return read


def _offsets(*names: str) -> Iterator[tuple[str, Read]]:
    for name in names:
        yield name, _measured(attrgetter(name))


def _measured(read: Read) -> Read:
    """Microseconds from the start; None for what did not happen."""
    return lambda record: (
        offset if (offset := read(record.timing)) >= 0 and record.HasField("timing") else None
    )


def _times(parent: str, *names: str) -> Iterator[tuple[str, Read]]:
    for name, read in _plain(parent, *names):
        yield name, _moment(read)


def _moment(read: Read) -> Read:
    return lambda record: _rfc3339(read(record))


def _rfc3339(timestamp: Timestamp) -> str | None:
    """None where it is not known, or no time at all: a sidecar may claim anything."""
    try:
        return timestamp.ToJsonString() if timestamp.ByteSize() else None
    except ValueError:
        return None


def _day(record: v1.Record) -> date:
    """Of the start; where that is far from when it was stored, of that: claims must not make indexes."""
    start, stored = (
        each.seconds if _rfc3339(each) else 0 for each in (record.timing.start, record.stored_at)
    )
    is_sound = start and (not stored or abs(start - stored) <= _FARTHEST_SECONDS)
    return date(1970, 1, 1) + timedelta(seconds=start if is_sound else stored)


def _enum(enum: Any, read: Read) -> Read:
    return lambda record: name_of(enum, read(record)).upper() if read(record) else None


def _code(name: str) -> Iterator[tuple[str, Read]]:
    yield name, lambda record: getattr(record, name) or None


def _structs(read: Read, *names: str) -> Read:
    """Messages as objects with those fields."""

    def made(record: v1.Record) -> list[dict[str, Any]]:
        return [{name: _value(getattr(each, name)) for name in names} for each in read(record)]

    return made


def _value(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else list(value)


def _pairs(record: v1.Record) -> list[dict[str, str]]:
    return [{"name": name, "value": record.context[name]} for name in sorted(record.context)]


def _sampling_fraction(record: v1.Record) -> float | None:
    return record.sampling.fraction if 0 < record.sampling.fraction <= 1 else None


def _sides() -> Iterator[tuple[str, Read]]:
    for side in ("request", "response"):
        names = ("content_type", "content_encoding", "size_bytes", "captured_bytes", "truncated")
        yield from _plain(side, *names, "digest", "piece_count", prefix=f"{side}_")
        read = attrgetter(f"{side}.redactions")
        yield f"{side}_redactions", _structs(read, "class", "count", "field")


def _all() -> Iterable[tuple[str, Read]]:
    yield from _plain("", "call_id", "request_id", "client_request_id", "model_request_id", "payload_id")
    yield from _plain("", "trace_id", "span_id", "tenant")
    yield "spool_id", lambda record: record.spool_id.hex()
    yield from _plain("", "sequence")
    yield "state", _enum(v1.State, attrgetter("state"))
    yield "protocol", _enum(v1.Protocol, attrgetter("protocol"))
    yield from _plain("", "method", "path", "query")
    yield from _code("http_status")
    yield from _if_told("", "grpc_status")
    yield from _plain("", "grpc_message")
    yield "ended_by", _enum(v1.EndedBy, attrgetter("ended_by"))
    yield from _if_told("", "close_code")
    yield from _plain("", "close_reason")
    yield "error_type", attrgetter("error.type")
    yield from _times("timing", "start", "end", "recorded_at")
    yield from _times("", "stored_at")
    yield from _offsets("duration_us", "upstream_connected_us", "request_complete_us")
    yield from _offsets("first_response_byte_us", "mean_gap_us", "worst_gap_us", "relay_wait_us")
    yield from _if_told("timing", "accepted_us", "grpc_timeout_us")
    yield "phases", _structs(attrgetter("timing.phases"), "name", "duration_us", "description")
    yield "model", attrgetter("model.name")
    yield "model_version", attrgetter("model.version")
    yield from _plain("model", "api", "operation", "endpoint", "parameters_json")
    yield from _listed("model", "finish_reasons")
    yield from _if_told("model", "input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
    for name in ("inputs", "outputs"):
        yield name, _structs(attrgetter(f"model.{name}"), "name", "datatype", "shape")
    yield from _plain("caller", "user", "session", "address")
    yield from _plain("", "cohort", "application_version", "intent")
    yield from _listed("", "tags", "logging_error_codes")
    yield "context", _pairs
    yield from _sides()
    yield "sampling_fraction", _sampling_fraction
    yield "sampling_reason", _enum(v1.Sampling.Reason, attrgetter("sampling.reason"))
    yield from _plain("source", "pod", "namespace", "node", "container", "infertap_version", "policy_version")
    yield from _plain("", "segment", "is_continued")


_FIELDS: Final[dict[str, Read]] = dict(_all())
# An error is read out of a body.
_TEXTS_OF_BODIES: Final[dict[str, Read]] = dict(_plain("error", "message", "stack_trace", prefix="error_"))
