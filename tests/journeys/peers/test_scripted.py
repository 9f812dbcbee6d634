"""Clients whose servers can't be had, against a small server of our own: the clients are the real peers."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from infertap import v1
from tests.journeys.peers.openai_events import joined, shown

if TYPE_CHECKING:
    from tests.journeys.conftest import Sidecar
    from tests.journeys.peers.conftest import Drive

pytestmark = [pytest.mark.peers, pytest.mark.timeout(240)]

KEY = "sk-scripted-4711-do-not-keep"


@pytest.fixture
def sidecar(scripted: str, start_sidecar: "Callable[..., Sidecar]") -> "Sidecar":
    return start_sidecar(scripted)


def url_of(sidecar: "Sidecar", path: str = "") -> str:
    return "http://{}:{}{}".format(*sidecar.address, path)


def assert_model(record: v1.Record, api: str, model: str, parameters: dict[str, Any]) -> None:
    assert (record.protocol, record.method) == (v1.HTTP1, "POST")
    assert (record.model.api, record.model.operation, record.model.name) == (api, "chat", model)
    assert json.loads(record.model.parameters_json) == parameters
    assert not record.logging_error_codes
    assert KEY.encode() not in record.SerializeToString()


def test_streamed_tool_calls(sidecar: "Sidecar", drive: "Drive") -> None:
    """Calls of tools in pieces are recorded as the openai client reads them, and so is a broken stream."""
    calls = drive("llm", "drive_openai.py", url_of(sidecar, "/v1"), KEY, "scripted")
    records = {record.request_id: record for record in sidecar.await_records(len(calls))}
    told = calls["tool-calls-streamed"]
    sent, record = told["sent"], records[told["request_id"]]
    names = ("temperature", "seed", "max_tokens", "stop", "stream")
    assert_model(record, "openai", "script", {name: sent[name] for name in names})
    assert json.loads(record.request.data) == sent
    expected = joined(told["seen"]["events"])
    assert [call["arguments"] for call in expected["tool_calls"]] == ['{"city": "Berlin", "days": 3}', "{}"]
    assert shown(json.loads(record.response.decoded_json)) == expected
    assert (record.state, list(record.model.finish_reasons)) == (v1.COMPLETED, ["tool_calls"])
    assert (record.model.input_tokens, record.model.output_tokens) == (21, 9)

    told = calls["broken-stream"]
    record = records[told["request_id"]]
    assert (record.state, record.http_status) == (v1.FAILED, 200)
    assert shown(json.loads(record.response.decoded_json))["text"] == joined(told["seen"]["events"])["text"]
    error = told["seen"]["error"]
    assert (record.error.type, record.error.message) == (error["type"], error["message"])


def test_anthropic_messages(sidecar: "Sidecar", drive: "Drive") -> None:
    """The message that Anthropic's client puts together is the record's; an overload is a failure."""
    told = drive("llm", "drive_anthropic.py", url_of(sidecar), KEY, "scripted")
    records = {record.request_id: record for record in sidecar.await_records(2)}
    each = told["message-streamed"]
    record = records[each["request_id"]]
    body = each["seen"]["body"]
    parameters = {"max_tokens": 50, "stop_sequences": ["END"]}
    assert_model(record, "anthropic", "script", parameters | {"stream": True})
    assert json.loads(record.request.data) == each["sent"]
    view = json.loads(record.response.decoded_json)
    assert [block["type"] for block in body["content"]] == ["text", "tool_use"]
    for shown_block, block in zip(view["content"], body["content"], strict=True):
        assert shown_block.items() <= block.items()
    assert view["usage"] == {name: body["usage"][name] for name in view["usage"]}
    assert (view["stop_reason"], record.payload_id) == (body["stop_reason"], body["id"])
    assert (record.state, list(record.model.finish_reasons)) == (v1.COMPLETED, ["tool_use"])
    usage = body["usage"]
    assert record.model.input_tokens == usage["input_tokens"]
    assert record.model.output_tokens == usage["output_tokens"]

    each = told["overloaded"]
    record = records[each["request_id"]]
    assert_model(record, "anthropic", "overloaded", parameters)
    assert (record.state, record.http_status) == (v1.FAILED, each["seen"]["status"])
    error = each["seen"]["body"]["error"]
    assert (record.error.type, record.error.message) == (error["type"], error["message"])


@pytest.mark.parametrize("call", ["ollama-chat", "ollama-chat-streamed"])
def test_ollama(sidecar: "Sidecar", drive: "Drive", call: str) -> None:
    """What Ollama's client read, at once or line by line, is in the record with its counts."""
    told = drive("llm", "drive_ollama.py", url_of(sidecar))
    records = {record.request_id: record for record in sidecar.await_records(len(told))}
    sent, seen, record = told[call]["sent"], told[call]["seen"], records[call]
    assert_model(record, "ollama", "script", sent["options"] | {"stream": sent["stream"]})
    assert sent.items() <= json.loads(record.request.data).items()
    answer = json.loads(record.response.decoded_json if sent["stream"] else record.response.data)
    text = "".join(piece["message"]["content"] for piece in seen)
    assert answer["message"] == {"role": "assistant", "content": text}
    last = seen[-1]
    assert (record.state, list(record.model.finish_reasons)) == (v1.COMPLETED, [last["done_reason"]])
    assert record.model.input_tokens == last["prompt_eval_count"]
    assert record.model.output_tokens == last["eval_count"]
    if sent["stream"]:
        lines = record.response.data.splitlines()
        assert [json.loads(line)["message"]["content"] for line in lines] == [
            piece["message"]["content"] for piece in seen
        ]
