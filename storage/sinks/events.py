"""Events: what a record is as a CloudEvent (1.0.2). Pure.

    id            the record's id (interface.record_id); with `source` unique for ever
    source        as the sink's settings say
    type          io.infertap.v1.Record
    subject       the call's id
    time          when the call began
    datacontenttype  application/json
    data          the record, by proto3's mapping to JSON, names as the contract has them

and these extensions, where the record says something: requestid, modelid, modelversion, namespace, endpoint
as other recorders of inference name them; state, tenant; recordedtime, sampledrate and traceparent as the
documented extensions of CloudEvents have them.
"""

import json
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from infertap import v1
from infertap.export import json_line, to_object
from infertap.names import name_of
from storage.sinks.interface import record_id

TYPE: Final = "io.infertap.v1.Record"
# What a header may hold as it is (HTTP binding, section 3.1.3.2): printable ASCII but space, quote, percent.
_PLAIN: Final = frozenset(map(chr, range(0x21, 0x7F))) - {'"', "%"}
# A hexadecimal id of so many digits (W3C Trace Context, section 3.2.2).
_TRACE_DIGITS: Final = 32
_SPAN_DIGITS: Final = 16


def json_record(record: v1.Record) -> bytes:
    """The record as JSON on one line, without the line's end."""
    return json_line(to_object(record))[:-1]


def event_attributes(record: v1.Record, source: str) -> dict[str, str]:
    """The attributes of its event but `datacontenttype`; none is empty."""
    told = {
        "specversion": "1.0",
        "id": record_id(record),
        "source": source,
        "type": TYPE,
        "subject": record.call_id,
        "time": _time(record.timing.start),
        "requestid": record.request_id,
        "modelid": record.model.name,
        "modelversion": record.model.version,
        "namespace": record.source.namespace,
        "endpoint": record.model.endpoint,
        "state": name_of(v1.State, record.state) if record.state else "",
        "tenant": record.tenant,
        "recordedtime": _time(record.timing.recorded_at),
        "sampledrate": _sampled_rate(record.sampling.fraction),
        "traceparent": _trace_parent(record),
    }
    return {name: text for name, value in told.items() if (text := _sound(value))}


def structured_event(record: v1.Record, source: str) -> bytes:
    """The event as JSON (JSON event format, section 3)."""
    event: dict[str, Any] = {**event_attributes(record, source), "datacontenttype": "application/json"}
    if "sampledrate" in event:
        event["sampledrate"] = int(event["sampledrate"])
    return json.dumps({**event, "data": to_object(record)}, separators=(",", ":")).encode()


def binary_headers(record: v1.Record, source: str) -> dict[str, str]:
    """The headers of the event in binary mode (HTTP binding, section 3.1)."""
    told = {f"ce-{name}": _header(value) for name, value in event_attributes(record, source).items()}
    return {"content-type": "application/json", **told}


def kserve_events(record: v1.Record, source: str) -> list[tuple[dict[str, str], bytes]]:
    """Headers and body of the two events that KServe's logger sends of a call, in binary mode: of the request
    and, where there was one, of the response; of one id, the call's, by which what reads them joins them.
    """
    told = {
        "specversion": "1.0",
        "id": record.call_id,
        "source": source,
        "inferenceservicename": record.model.name,
        "namespace": record.source.namespace,
        "component": "predictor",
        "endpoint": record.model.endpoint,
        "time": _time(record.timing.start),
        "recordedtime": _time(record.timing.recorded_at),
    }
    sides = [("request", record.request)]
    if record.http_status or record.HasField("grpc_status"):
        sides.append(("response", record.response))
    return [(_kserve_headers(told, side, payload), payload.data) for side, payload in sides]


def _kserve_headers(told: dict[str, str], side: str, payload: v1.Payload) -> dict[str, str]:
    attributes = {**told, "type": f"org.kubeflow.serving.inference.{side}"}
    headers = {f"ce-{name}": _header(text) for name, value in attributes.items() if (text := _sound(value))}
    headers["content-type"] = _header_text(payload.content_type) or "application/octet-stream"
    if encoding := _header_text(payload.content_encoding):
        headers["content-encoding"] = encoding
    return headers


def _header_text(text: str) -> str:
    """What a caller sent as a header, without what no header may hold (RFC 9110, section 5.5)."""
    return "".join(char for char in text if " " <= char <= "~")


def _time(timestamp: Timestamp) -> str:
    """RFC 3339; empty where it is not known."""
    try:
        return timestamp.ToJsonString() if timestamp.ByteSize() else ""
    except ValueError:  # before the year 1 or after 9999: a sidecar may claim anything
        return ""


def _sampled_rate(fraction: float) -> str:
    """How many calls this one stands for, rounded (the extension "sampledrate" is a whole number)."""
    return str(round(min(1 / fraction, (1 << 31) - 1))) if 0 < fraction <= 1 else ""


def _trace_parent(record: v1.Record) -> str:
    known = len(record.trace_id) == _TRACE_DIGITS and len(record.span_id) == _SPAN_DIGITS
    return f"00-{record.trace_id}-{record.span_id}-01" if known else ""


def _sound(text: str) -> str:
    """Without what no attribute may hold (section 3.1 of the specification: control characters)."""
    return "".join(char for char in text if not (char < " " or "\x7f" <= char <= "\x9f"))


def _header(text: str) -> str:
    return "".join(
        char if char in _PLAIN else "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "replace"))
        for char in text
    )
