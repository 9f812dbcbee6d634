"""OpenAI's responses: what their events make, with and without the last of them."""

from typing import Any

import pytest

PATH = "/v1/responses"
CREATED = {"type": "response.created", "response": {"id": "resp_1", "model": "gpt-4.1", "output": []}}
MESSAGE = {"type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress", "content": []}
EVENTS: list[dict[str, Any]] = [
    CREATED,
    {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "summary": []}},
    {
        "type": "response.reasoning_summary_text.delta",
        "output_index": 0,
        "summary_index": 0,
        "delta": "Think",
    },
    {"type": "response.output_item.added", "output_index": 1, "item": MESSAGE},
    {
        "type": "response.content_part.added",
        "output_index": 1,
        "content_index": 0,
        "part": {"type": "output_text", "text": "", "annotations": []},
    },
    {
        "type": "response.output_text.delta",
        "output_index": 1,
        "content_index": 0,
        "delta": "Hel",
        "logprobs": [{"token": "Hel"}],
    },
    {
        "type": "response.output_text.delta",
        "output_index": 1,
        "content_index": 0,
        "delta": "lo",
        "logprobs": [{"token": "lo"}],
    },
    {"type": "response.refusal.delta", "output_index": 1, "content_index": 1, "delta": "I can't"},
    {
        "type": "response.output_item.added",
        "output_index": 2,
        "item": {"type": "function_call", "call_id": "c1", "name": "look", "arguments": ""},
    },
    {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '{"at"'},
    {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": ":1}"},
]


def test_without_the_last_event(read) -> None:
    """Items, parts and texts are put together from the events that came."""
    view = read(PATH, {"model": "asked"}, *EVENTS, media_type="text/event-stream")
    answer = view.response_view
    assert (view.model_name, view.payload_id) == ("gpt-4.1", "resp_1")
    reasoning, message, call = answer["output"]
    assert reasoning == {"type": "reasoning", "summary": [{"text": "Think"}]}
    assert message["content"] == [
        {
            "type": "output_text",
            "text": "Hello",
            "annotations": [],
            "logprobs": [{"token": "Hel"}, {"token": "lo"}],
        },
        {"refusal": "I can't"},
    ]
    assert call == {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at":1}'}


def test_items_that_are_done(read) -> None:
    """What the event of an item's end says is the item, once."""
    done = {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "Hello"}]}
    view = read(
        PATH,
        {},
        *EVENTS[:7],
        {"type": "response.output_item.done", "output_index": 1, "item": done},
        media_type="text/event-stream",
    )
    assert view.response_view["output"][1]["content"] == done["content"]


@pytest.mark.parametrize(
    ("answer", "reasons"),
    [
        ({"status": "completed"}, ["completed"]),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            ["max_output_tokens"],
        ),
        ({"status": 5}, []),
    ],
)
def test_finish_reasons(read, answer: Any, reasons: list[str]) -> None:
    """Why it is incomplete, else its status."""
    assert read(PATH, {}, answer).finish_reasons == reasons


def test_whole(read) -> None:
    """An answer that is not streamed says it all itself; tokens with their details."""
    usage = {
        "input_tokens": 36,
        "input_tokens_details": {"cached_tokens": 30},
        "output_tokens": 87,
        "output_tokens_details": {"reasoning_tokens": 64},
    }
    request = {"model": "o4-mini", "max_output_tokens": 100, "input": "hi", "stream": False}
    view = read(PATH, request, {"id": "r", "model": "o4-mini-2025", "usage": usage})
    assert (view.input_tokens, view.output_tokens) == (36, 87)
    assert (view.cached_input_tokens, view.reasoning_tokens) == (30, 64)
    assert view.parameters == {"max_output_tokens": 100, "stream": False}
    assert (view.api, view.operation, view.response_view) == ("openai", "responses", None)


def test_failed(read) -> None:
    """A stream that fails says so in its last event, or in an error event."""
    error = {"code": "server_error", "message": "The model failed"}
    events = [CREATED, {"type": "response.failed", "response": {"id": "r", "error": error}}]
    view = read(PATH, {}, *events, media_type="text/event-stream")
    assert (view.failed, view.failure.type, view.failure.message) == (
        True,
        "server_error",
        "The model failed",
    )
    view = read(PATH, {}, CREATED, {"type": "error", **error}, media_type="text/event-stream")
    assert (view.failed, view.failure.message) == (True, "The model failed")


def test_no_end(read) -> None:
    """An answer that goes on has no finish reason."""
    event = {"type": "response.created", "response": {"id": "r", "status": "in_progress"}}
    assert read("/v1/responses", {}, event, media_type="text/event-stream").finish_reasons == []
