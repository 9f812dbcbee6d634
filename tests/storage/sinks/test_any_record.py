"""Whatever a sidecar may claim, no record is one that a sink can't write: it would hold up all behind it."""

import json
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from infertap import v1
from storage.sinks import elasticsearch_documents, otlp_spans
from storage.sinks.elasticsearch_documents import to_lines
from storage.sinks.events import binary_headers, structured_event
from storage.sinks.kafka_messages import KEYS, to_message
from storage.sinks.kafka_messages import Form as KafkaForm
from storage.sinks.otlp_wire import encode
from tests.storage.sinks.otlp_receiver import with_base64_ids

TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["openai", "chat", "0" * 32, "a" * 32, "b" * 16, "{day}", '{"stop":["\\ud800"],"n":1e999}']
    ),
)
BODIES = st.one_of(
    st.binary(max_size=8),
    st.sampled_from(
        [
            b'{"messages":[{"role":"user","content":[{"text":1},3,null]},{"role":"tool"}]}',
            b'{"choices":[{"message":{"content":"\\ud800","tool_calls":[{"function":{"arguments":"{"}}]}}]}',
        ]
    ),
)
F = FieldDescriptor
SCALARS = {
    F.TYPE_STRING: TEXTS,
    F.TYPE_BYTES: BODIES,
    F.TYPE_BOOL: st.booleans(),
    F.TYPE_DOUBLE: st.floats(),
    F.TYPE_ENUM: st.integers(-(1 << 31), (1 << 31) - 1) | st.integers(0, 5),
    F.TYPE_INT32: st.integers(-(1 << 31), (1 << 31) - 1) | st.integers(0, 16),
    F.TYPE_UINT32: st.integers(0, (1 << 32) - 1),
    F.TYPE_INT64: st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-1, 1 << 33),
    F.TYPE_UINT64: st.integers(0, (1 << 64) - 1),
}


def fill(draw: Any, message: Any) -> None:
    """Each field or none, with anything that fits its type."""
    for field in message.DESCRIPTOR.fields:
        if not draw(st.booleans()):
            continue
        target = getattr(message, field.name)
        if field.message_type and field.message_type.GetOptions().map_entry:
            target[draw(TEXTS)] = draw(TEXTS)
        elif field.message_type:
            fill(draw, target.add() if field.is_repeated else target)
        elif field.is_repeated:
            target.append(draw(SCALARS[field.type]))
        else:
            setattr(message, field.name, draw(SCALARS[field.type]))


@st.composite
def records(draw: Any) -> v1.Record:
    record = v1.Record()
    fill(draw, record)
    return record


@settings(max_examples=60)
@given(records())
def test_every_sink_can_write_every_record(record: v1.Record) -> None:
    """As JSON that others read, as protobuf, and as OpenTelemetry's own messages, both encodings alike."""
    for key in KEYS:
        json.loads(to_message(record, KafkaForm(key)).value)
    assert to_message(record, KafkaForm(is_protobuf=True, source="s")).headers
    json.loads(structured_event(record, "s"))
    assert all(each.isascii() for each in binary_headers(record, "s").values())
    for payload_bytes in (0, 100):
        action, document = to_lines(
            [record], elasticsearch_documents.Form("i-{day}", payload_bytes)
        ).splitlines()
        assert json.loads(action)["create"]["_id"]
        assert "@timestamp" in strictly_read(document)
        form = otlp_spans.Form(payload_bytes=payload_bytes)
        for made, name, message in (
            (otlp_spans.traces([record], form), "ExportTraceServiceRequest", ExportTraceServiceRequest),
            (otlp_spans.logs([record], form), "ExportLogsServiceRequest", ExportLogsServiceRequest),
        ):
            binary = message.FromString(encode(made, name))
            assert ParseDict(with_base64_ids(strictly_read(json.dumps(made))), message()) == binary


def strictly_read(text: str | bytes) -> Any:
    """JSON as RFC 8259 has it: NaN and infinities are none."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)
