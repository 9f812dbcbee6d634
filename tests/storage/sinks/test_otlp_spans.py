"""Records as OTLP's spans and log records."""

import json
from typing import Any

import pytest

from infertap import v1
from storage.sinks.otlp_spans import Form, logs, traces

ASKED = {"messages": [{"role": "user", "content": "Is it raining?"}]}
ANSWERED = {
    "choices": [
        {
            "message": {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "function": {"name": "weather", "arguments": '{"in":"Paris"}'}}],
            },
            "finish_reason": "tool_calls",
        }
    ]
}


def the_span(record: v1.Record, form: Form | None = None) -> dict[str, Any]:
    (resource,) = traces([record], form or Form())["resourceSpans"]
    (span,) = resource["scopeSpans"][0]["spans"]
    return dict(span)


def told(span: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}


@pytest.fixture
def chat(served) -> v1.Record:
    record = served(1, model__api="openai", model__operation="chat", model__name="llama", protocol=1)
    record.model.parameters_json = '{"max_tokens":100,"temperature":1,"n":1,"stop":"end","top_k":"x"}'
    record.model.finish_reasons.append("tool_calls")
    record.model.input_tokens, record.model.output_tokens, record.model.cached_input_tokens = 12, 0, 4
    record.request.data = json.dumps(ASKED).encode()
    record.response.data = json.dumps(ANSWERED).encode()
    return record


def test_a_chat_has_the_names_of_the_conventions(chat) -> None:
    """What is asked, of whom, with which parameters, and what it took: of the right types only."""
    span = the_span(chat)
    found = told(span)
    assert span["name"] == "chat llama"
    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.provider.name"] == "openai"
    assert found["gen_ai.request.model"] == "llama"
    assert found["gen_ai.usage.input_tokens"] == "12"
    assert found["gen_ai.usage.output_tokens"] == "0"
    assert found["gen_ai.usage.cache_read.input_tokens"] == "4"
    assert found["gen_ai.request.max_tokens"] == "100"
    assert found["gen_ai.request.temperature"] == 1.0
    assert found["gen_ai.request.stop_sequences"] == {"values": [{"stringValue": "end"}]}
    assert not {"gen_ai.request.choice.count", "gen_ai.request.top_k", "gen_ai.request.stream"} & set(found)
    assert found["network.protocol.version"] == "1.1"


def test_nothing_of_bodies_unless_asked_for(chat) -> None:
    """Neither the bodies nor the texts of errors, which may quote them."""
    chat.state, chat.error.type, chat.error.message = v1.FAILED, "bad", "raining"
    assert "raining" not in json.dumps(traces([chat], Form()))
    assert "raining" not in json.dumps(logs([chat], Form()))
    assert json.dumps(traces([chat], Form(payload_bytes=1000))).count("raining") >= 2


def test_a_conversation_is_told_in_parts(chat) -> None:
    """By the conventions' schema, tool calls with their arguments; left out whole where it is too long."""
    found = told(the_span(chat, Form(payload_bytes=10_000)))
    assert json.loads(found["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Is it raining?"}]}
    ]
    call = {"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"in": "Paris"}}
    assert json.loads(found["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [call], "finish_reason": "tool_calls"}
    ]
    cut = told(the_span(chat, Form(payload_bytes=20)))
    assert "gen_ai.input.messages" not in cut
    assert len(cut["infertap.request.body"]) == 20
    assert cut["infertap.request.body_cut"] is True


def test_other_models_have_no_generative_attributes(served) -> None:
    """A classifier is no generative model, whatever it is asked over."""
    record = served(1, model__api="open_inference", model__operation="infer", protocol=3)
    record.path, record.grpc_status = "/inference.GRPCInferenceService/ModelInfer", 14
    record.state = v1.FAILED
    span = the_span(record)
    found = told(span)
    assert not any(name.startswith("gen_ai.") for name in found)
    assert found["rpc.method"] == "inference.GRPCInferenceService/ModelInfer"
    assert (found["rpc.response.status_code"], found["error.type"]) == ("UNAVAILABLE", "UNAVAILABLE")
    assert span["status"] == {"code": 2}
    assert span["name"] == "inference.GRPCInferenceService/ModelInfer"


def test_a_stream_tells_its_first_byte(chat) -> None:
    """As an attribute in seconds, and as an event at its time."""
    chat.model.parameters_json = '{"stream":true}'
    chat.timing.first_response_byte_us, chat.timing.request_complete_us = 1_500_000, -1
    span = the_span(chat)
    assert told(span)["gen_ai.response.time_to_first_chunk"] == 1.5
    (event,) = span["events"]
    assert event["name"] == "infertap.first_response_byte"
    assert int(event["timeUnixNano"]) == int(span["startTimeUnixNano"]) + 1_500_000_000


@pytest.mark.parametrize("trace_id", ["", "0" * 32, "xyz", "g" * 32, "a" * 31])
def test_a_trace_id_that_is_none(served, trace_id: str) -> None:
    """The call is a trace of its own, without a parent."""
    record = served(1, trace_id=trace_id, span_id="b7ad6b7169203331")
    span = the_span(record)
    assert span["traceId"] == record.call_id.replace("-", "")
    assert "parentSpanId" not in span


def test_a_repeat_is_the_same_span_and_segments_are_others(served) -> None:
    """Ids come of the record's id alone."""
    first, second = served(1), served(2)
    second.call_id = first.call_id
    assert the_span(first)["spanId"] == the_span(first)["spanId"]
    assert the_span(first)["spanId"] != the_span(second)["spanId"]
    assert the_span(first)["traceId"] == the_span(second)["traceId"]


def test_records_of_one_pod_are_told_together(served) -> None:
    """A resource for each place and tenant, in order of arrival."""
    records = [served(each) for each in range(1, 5)]
    for record, pod in zip(records, ("a", "b", "a", "b"), strict=True):
        record.source.pod = pod
    made = traces(records, Form("models"))["resourceSpans"]
    assert [len(each["scopeSpans"][0]["spans"]) for each in made] == [2, 2]
    places = [{a["key"]: a["value"]["stringValue"] for a in each["resource"]["attributes"]} for each in made]
    assert [(each["k8s.pod.name"], each["service.name"]) for each in places] == [
        ("a", "models"),
        ("b", "models"),
    ]


@pytest.mark.parametrize("seconds", [-1, 1 << 40, 0])
def test_times_that_are_none(served, seconds: int) -> None:
    """A clock may say anything: what can't be told in 64 bits gives way to storage's own."""
    record = served(1)
    record.timing.start.seconds, record.timing.duration_us = seconds, -5
    record.stored_at.seconds = 1_767_225_600
    span = the_span(record)
    assert span["startTimeUnixNano"] == span["endTimeUnixNano"] == "1767225600000000000"
