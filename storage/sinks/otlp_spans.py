"""OTLP spans: records as spans, or as log records, in a request of OTLP. Pure.

A span for each record: its trace and its parent are those of the caller's W3C trace context. Without one the
trace is the call's own, of its id. The span's id is made of the record's id, so that a repeat is the same
span, and a log record names it. Of a call that lasts each segment is a span of one trace.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from infertap import v1
from infertap.names import name_of
from storage.sinks.interface import record_id
from storage.sinks.otlp_attributes import (
    PROVIDERS,
    call_attributes,
    error_type,
    operation_of,
    resource_attributes,
)
from storage.sinks.otlp_values import Told, attributes

KINDS: Final = {"server": 2, "client": 3}
_SCOPE: Final = "infertap"
_ERROR: Final = 2
# trace.proto, SpanFlags: it is known whether the parent is another process's, and it is.
_PARENT_IS_REMOTE: Final = 0x300
# logs.proto, SeverityNumber.
_SEVERITIES: Final = {v1.FAILED: (17, "ERROR"), v1.CANCELLED: (13, "WARN")}
_INFO: Final = (9, "INFO")
_MOST_NANOS: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Form:
    """How calls are told: as whose service, and of bodies so many bytes, none with 0."""

    service: str = "infertap"
    payload_bytes: int = 0
    kind: int = KINDS["server"]


def traces(records: Sequence[v1.Record], form: Form) -> Told:
    """An ExportTraceServiceRequest."""
    return {"resourceSpans": _by_resource(records, form, "scopeSpans", "spans", _span)}


def logs(records: Sequence[v1.Record], form: Form) -> Told:
    """An ExportLogsServiceRequest."""
    return {"resourceLogs": _by_resource(records, form, "scopeLogs", "logRecords", _log_record)}


def _by_resource(
    records: Sequence[v1.Record],
    form: Form,
    scopes: str,
    items: str,
    make: Callable[[v1.Record, Form], Told],
) -> list[Told]:
    """What is made of each, those of one place and version together."""
    grouped: dict[tuple[Any, ...], tuple[Told, list[Told]]] = {}
    for record in records:
        resource, version = resource_attributes(record, form.service), record.source.infertap_version
        key = (*resource.values(), version)
        if key not in grouped:
            scope = {"name": _SCOPE, **({"version": version} if version else {})}
            made: list[Told] = []
            told = {"resource": {"attributes": attributes(resource)}, scopes: [{"scope": scope, items: made}]}
            grouped[key] = (told, made)
        grouped[key][1].append(make(record, form))
    return [told for told, _ in grouped.values()]


def _span(record: v1.Record, form: Form) -> Told:
    start, end = _times(record)
    parent = _known_id(record.span_id, 16) if _known_id(record.trace_id, 32) else ""
    return {
        "traceId": _trace_id(record),
        "spanId": _span_id(record),
        **({"parentSpanId": parent, "flags": _PARENT_IS_REMOTE} if parent else {}),
        "name": _name(record),
        "kind": form.kind,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(end),
        "attributes": attributes(call_attributes(record, form.payload_bytes)),
        "events": _events(record, form, start, end),
        "status": {"code": _ERROR} if record.state == v1.FAILED else {},
    }


def _log_record(record: v1.Record, form: Form) -> Told:
    _, end = _times(record)
    number, text = _SEVERITIES.get(record.state, _INFO)
    stored = _nanos(record.stored_at)
    return {
        "timeUnixNano": str(end),
        "observedTimeUnixNano": str(stored or end),
        "severityNumber": number,
        "severityText": text,
        "eventName": "infertap.call",
        "body": {"stringValue": f"{_name(record)} {name_of(v1.State, record.state)}"},
        "attributes": attributes(call_attributes(record, form.payload_bytes)),
        "traceId": _trace_id(record),
        "spanId": _span_id(record),
    }


def _name(record: v1.Record) -> str:
    """Of few values: what is asked of which model, else the method."""
    operation = operation_of(record)
    if operation and (record.model.api in PROVIDERS or record.model.name):
        return f"{operation} {record.model.name}".strip()
    if record.protocol in (v1.GRPC, v1.GRPC_WEB):
        return record.path.lstrip("/")
    return record.method or name_of(v1.Protocol, record.protocol)


def _events(record: v1.Record, form: Form, start: int, end: int) -> list[Told]:
    """When the request was complete, when the answer began, and what failed."""
    made: list[Told] = []
    for name in ("request_complete", "first_response_byte"):
        offset = getattr(record.timing, f"{name}_us")
        if record.HasField("timing") and offset >= 0:
            at = min(start + offset * 1000, _MOST_NANOS)
            made.append({"timeUnixNano": str(at), "name": f"infertap.{name}"})
    if kind := error_type(record):
        told = {"exception.type": kind}
        if form.payload_bytes:
            told |= {"exception.message": record.error.message}
            told |= {"exception.stacktrace": record.error.stack_trace}
        made.append({"timeUnixNano": str(end), "name": "exception", "attributes": attributes(told)})
    return made


def _times(record: v1.Record) -> tuple[int, int]:
    """Start and end in nanoseconds since 1970, in this order whatever a clock said."""
    start = _nanos(record.timing.start) or _nanos(record.stored_at)
    end = _nanos(record.timing.end) or start + max(record.timing.duration_us, 0) * 1000
    return start, min(max(start, end), _MOST_NANOS)


def _nanos(timestamp: Timestamp) -> int:
    """0 where it is not known, or can't be told in 64 bits."""
    nanos = timestamp.seconds * 1_000_000_000 + timestamp.nanos
    return nanos if 0 < nanos <= _MOST_NANOS else 0


def _trace_id(record: v1.Record) -> str:
    own = _known_id(record.call_id.replace("-", ""), 32)
    return _known_id(record.trace_id, 32) or own or sha256(record_id(record).encode()).hexdigest()[:32]


def _span_id(record: v1.Record) -> str:
    return sha256(b"span " + record_id(record).encode()).hexdigest()[:16]


def _known_id(text: str, digits: int) -> str:
    """The id, where it is one: hexadecimal, and not zero (W3C Trace Context, section 3.2.2)."""
    try:
        is_known = len(text) == digits and any(bytes.fromhex(text))
    except ValueError:
        return ""
    return text.lower() if is_known else ""
