"""Anthropic's messages, whole and streamed."""

from typing import Any

import pytest

PATH = "/v1/messages"
START = {
    "type": "message_start",
    "message": {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4",
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 25, "cache_read_input_tokens": 20, "output_tokens": 1},
    },
}
END = {
    "type": "message_delta",
    "delta": {"stop_reason": "tool_use", "stop_sequence": None},
    "usage": {"output_tokens": 89},
}


def block(index: int, opened: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    start = {"type": "content_block_start", "index": index, "content_block": opened}
    pieces = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    return [start, *pieces, {"type": "content_block_stop", "index": index}]


EVENTS = [
    START,
    {"type": "ping"},
    *block(
        0,
        {"type": "thinking", "thinking": ""},
        {"type": "thinking_delta", "thinking": "Let me "},
        {"type": "thinking_delta", "thinking": "see"},
        {"type": "signature_delta", "signature": "c2ln"},
    ),
    *block(
        1,
        {"type": "text", "text": ""},
        {"type": "text_delta", "text": "Okay"},
        {"type": "text_delta", "text": "!"},
    ),
    *block(
        2,
        {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}},
        {"type": "input_json_delta", "partial_json": ""},
        {"type": "input_json_delta", "partial_json": '{"location": "San'},
        {"type": "input_json_delta", "partial_json": ' Francisco"}'},
    ),
    END,
    {"type": "message_stop"},
]


def test_stream(read) -> None:
    """Blocks are filled by their pieces; a tool's input is the JSON that its pieces make."""
    request = {"model": "claude", "max_tokens": 1024, "stop_sequences": ["x"], "messages": []}
    view = read(PATH, request, *EVENTS, media_type="text/event-stream")
    answer = view.response_view
    assert answer["content"] == [
        {"type": "thinking", "thinking": "Let me see", "signature": "c2ln"},
        {"type": "text", "text": "Okay!"},
        {
            "type": "tool_use",
            "id": "toolu_1",
            "name": "get_weather",
            "input": {"location": "San Francisco"},
        },
    ]
    assert (answer["stop_reason"], answer["role"], view.finish_reasons) == (
        "tool_use",
        "assistant",
        ["tool_use"],
    )
    assert (view.model_name, view.payload_id) == ("claude-sonnet-4", "msg_01")
    assert (view.input_tokens, view.output_tokens, view.cached_input_tokens) == (25, 89, 20)
    assert view.parameters == {"max_tokens": 1024, "stop_sequences": ["x"]}
    assert (view.api, view.operation, view.failed) == ("anthropic", "chat", False)


def test_a_stream_that_ends_within_a_tool(read) -> None:
    """A tool's input that is not whole stays the text that came."""
    view = read(PATH, {}, *EVENTS[:14], media_type="text/event-stream")
    assert view.response_view["content"][2]["input"] == '{"location": "San'


def test_stream_that_fails(read) -> None:
    """An error event tells type and message, and that the call failed."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    view = read(PATH, {}, START, error, media_type="text/event-stream")
    assert (view.failed, view.failure.type, view.failure.message) == (True, "overloaded_error", "Overloaded")


def test_whole(read) -> None:
    """A message that came whole says it itself."""
    answer = START["message"] | {"content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}  # type: ignore[operator]
    view = read(PATH, {"model": "claude"}, answer)
    assert (view.finish_reasons, view.input_tokens, view.response_view) == (["end_turn"], 25, None)


def test_older_completions(read) -> None:
    """The interface before the messages: pieces of one text."""
    events = [{"type": "completion", "completion": text, "stop_reason": None} for text in ("Hel", "lo")]
    view = read("/v1/complete", {"model": "claude-2"}, *events, media_type="text/event-stream")
    assert (view.operation, view.response_view["completion"]) == ("text_completion", "Hello")


@pytest.mark.parametrize(
    ("path", "model", "version"),
    [
        (
            "/model/anthropic.claude-3-haiku-20240307-v1:0/invoke",
            "anthropic.claude-3-haiku-20240307-v1:0",
            "",
        ),
        (
            "/v1/projects/p/locations/l/publishers/anthropic/models/claude-3-opus@20240229:rawPredict",
            "claude-3-opus",
            "20240229",
        ),
    ],
)
def test_models_of_clouds(read, path: str, model: str, version: str) -> None:
    """Where a cloud serves them, the path names the model."""
    view = read(path, {"messages": []}, {"content": []})
    assert (view.api, view.model_name, view.path_version) == ("anthropic", model, version)
