"""LiteLLM's mock answers, called by the clients of OpenAI and Anthropic: the records hold what both saw."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from infertap import v1
from tests.journeys.peers.conftest import LITELLM_KEY
from tests.journeys.peers.openai_events import joined, shown

if TYPE_CHECKING:
    from tests.journeys.conftest import Sidecar
    from tests.journeys.peers.conftest import Drive

pytestmark = [pytest.mark.peers, pytest.mark.timeout(240)]

# Path, operation, and what of the request are parameters.
CHAT = ("/v1/chat/completions", "chat", {"temperature", "seed", "max_tokens", "stop"})
TEXT = ("/v1/completions", "text_completion", {"max_tokens"})
CALLS: dict[str, tuple[str, str, set[str]]] = {
    "chat": CHAT,
    "chat-of-two": (*CHAT[:2], CHAT[2] | {"n"}),
    "chat-streamed": (*CHAT[:2], CHAT[2] | {"stream"}),
    "chat-personal": (*CHAT[:2], CHAT[2] | {"stream"}),
    "tool-call": (*CHAT[:2], CHAT[2] | {"tool_choice"}),
    "rate-limit": CHAT,
    "no-such-model": CHAT,
    "completion": TEXT,
    "completion-streamed": (*TEXT[:2], TEXT[2] | {"stream"}),
    "embeddings": ("/v1/embeddings", "embeddings", {"encoding_format"}),
    "responses": ("/v1/responses", "responses", set()),
    "no-stream": ("/v1/responses", "responses", {"stream"}),
    "message": ("/v1/messages", "chat", {"max_tokens", "stop_sequences"}),
}
Calls = dict[str, tuple[dict[str, Any], v1.Record]]


@pytest.fixture(scope="module")
def calls(litellm: str, start_sidecar: "Callable[..., Sidecar]", drive: "Drive") -> Calls:
    """What the clients told of each call, with its record, found by the id that the client was given."""
    sidecar = start_sidecar(litellm)
    base = "http://{}:{}".format(*sidecar.address)
    told = drive("llm", "drive_openai.py", f"{base}/v1", LITELLM_KEY, "mock")
    told |= drive("llm", "drive_anthropic.py", base, LITELLM_KEY, "mock")
    records = {record.request_id: record for record in sidecar.await_records(len(told))}
    assert sidecar.await_settled()["calls"]["seen"] == len(told)
    return {call: (each, records[each["request_id"]]) for call, each in told.items()}


def test_calls_are_recorded(calls: Calls) -> None:
    """Every call has the model, messages, parameters and status that its client sent and saw, and no key."""
    assert calls.keys() == CALLS.keys()
    for call, (told, record) in calls.items():
        path, operation, parameters = CALLS[call]
        sent, seen = told["sent"], told["seen"]
        assert (record.protocol, record.method, record.path) == (v1.HTTP1, "POST", path)
        assert (record.http_status, record.model.name) == (seen["status"], sent["model"])
        assert record.model.api == ("anthropic" if call == "message" else "openai")
        assert record.model.operation == operation
        assert json.loads(record.request.data) == sent
        assert json.loads(record.model.parameters_json or "{}") == {name: sent[name] for name in parameters}
        assert record.state == (v1.FAILED if call in FAILED else v1.COMPLETED)
        assert not record.logging_error_codes
        assert LITELLM_KEY.encode() not in record.SerializeToString()


FAILED = {"rate-limit", "no-such-model", "no-stream"}
STREAMED = {"chat-streamed", "chat-personal", "completion-streamed", "no-stream"}


def test_answers_that_come_whole(calls: Calls) -> None:
    """The answer is the client's, with its id, finish reasons and tokens; a call of a tool is in it."""
    for call in sorted(CALLS.keys() - FAILED - STREAMED):
        told, record = calls[call]
        body = told["seen"]["body"]
        assert json.loads(record.response.data) == body
        assert record.payload_id == body.get("id", "")
        usage = body["usage"]
        assert record.model.input_tokens == usage.get("prompt_tokens", usage.get("input_tokens"))
        assert record.model.output_tokens == usage.get("completion_tokens", usage.get("output_tokens"))
        assert list(record.model.finish_reasons) == finish_reasons(body)
    [choice] = json.loads(calls["tool-call"][1].response.data)["choices"]
    [tool] = choice["message"]["tool_calls"]
    assert json.loads(tool["function"]["arguments"]) == {"city": "Berlin", "days": 3}
    [vector] = calls["embeddings"][1].model.outputs
    assert list(vector.shape) == [1, 3]


def finish_reasons(body: dict[str, Any]) -> list[str]:
    """As each of the interfaces says it."""
    if body.get("object") == "response":
        return [body["status"]]
    if body.get("type") == "message":
        return [body["stop_reason"]]
    return [choice["finish_reason"] for choice in body.get("choices", [])]


@pytest.mark.parametrize("call", ["chat-streamed", "completion-streamed"])
def test_answers_that_are_streamed(calls: Calls, call: str) -> None:
    """The record shows the text, finish reason and usage that the client's events make when put together."""
    told, record = calls[call]
    events = told["seen"]["events"]
    expected = joined(events)
    view = json.loads(record.response.decoded_json)
    assert expected["text"] == "It was many and many a year ago, in a kingdom by the sea."
    assert shown(view) == expected
    assert (view["id"], view["model"]) == (events[0]["id"], "teller")
    assert record.payload_id == events[0]["id"]
    assert list(record.model.finish_reasons) == ["stop"]
    usage = expected["usage"]
    assert record.model.input_tokens == usage["prompt_tokens"]
    assert record.model.output_tokens == usage["completion_tokens"]
    # The events themselves, and their end.
    lines = record.response.data.decode().split("\n\n")
    data = [line.removeprefix("data: ") for line in lines if line]
    assert data.pop() == "[DONE]"
    assert [json.loads(each) for each in data] == events
    assert record.response.piece_count > 1
    assert 0 < record.timing.first_response_byte_us <= record.timing.duration_us


def test_personal_data_in_pieces(calls: Calls) -> None:
    """An address that the client read over many events is in no part of the record."""
    told, record = calls["chat-personal"]
    assert joined(told["seen"]["events"])["text"] == "Write to ada.lovelace@example.org, she knows."
    assert shown(json.loads(record.response.decoded_json))["text"] == "Write to <email>, she knows."
    assert [
        (each.count, each.field) for each in record.response.redactions if getattr(each, "class") == "email"
    ] == [(1, "body")]
    documents = [
        line[6:] for line in record.response.data.decode().split("\n\n") if line.startswith("data: {")
    ]
    kept = joined([json.loads(each) for each in documents])["text"]
    assert "lovelace" not in kept
    assert "example.org" not in kept


def test_failures(calls: Calls) -> None:
    """What the client raised is what the record says: status, type and message."""
    for call, status, kind in (
        ("rate-limit", 429, "throttling_error"),
        ("no-such-model", 400, "invalid_request_error"),
    ):
        told, record = calls[call]
        body = told["seen"]["body"]
        assert (record.http_status, record.error.type) == (status, kind)
        assert (body["type"], body["message"]) == (record.error.type, record.error.message)
        assert json.loads(record.response.data)["error"] == body
    told, record = calls["no-stream"]
    assert record.http_status == 500
    assert record.error.message == "Error processing stream start"
    assert record.error.message in str(told["seen"]["body"])
