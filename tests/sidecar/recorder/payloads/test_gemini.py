"""Gemini's answers, whole, as events and as one list."""

from typing import Any

import pytest

from sidecar.recorder.payloads import Tensor

PATH = "/v1beta/models/gemini-2.5-flash:"


def piece(*parts: dict[str, Any], **others: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0, **others}
    return {"candidates": [candidate], "modelVersion": "gemini-2.5-flash-001", "responseId": "r1"}


EVENTS = [
    piece({"text": "Let me ", "thought": True}),
    piece({"text": "see", "thought": True}, {"text": "Hel"}),
    piece({"text": "lo"}, {"functionCall": {"name": "look", "args": {"at": 1}}}),
    piece({"text": "!"}, finishReason="STOP")
    | {
        "usageMetadata": {
            "promptTokenCount": 4,
            "candidatesTokenCount": 9,
            "thoughtsTokenCount": 7,
            "cachedContentTokenCount": 2,
        }
    },
]


@pytest.mark.parametrize("as_list", [False, True])
def test_stream(read, as_list: bool) -> None:
    """Texts of a kind that follow each other are one part; a list of answers is a stream too."""
    answers = [EVENTS] if as_list else EVENTS
    media_type = "application/json" if as_list else "text/event-stream"
    config = {"temperature": 0.2, "topP": 0.9, "maxOutputTokens": 5, "responseSchema": {}}
    request = {"contents": [], "generationConfig": config}
    view = read(PATH + "streamGenerateContent", request, *answers, media_type=media_type)
    [candidate] = view.response_view["candidates"]
    assert candidate["content"]["parts"] == [
        {"text": "Let me see", "thought": True},
        {"text": "Hello"},
        {"functionCall": {"name": "look", "args": {"at": 1}}},
        {"text": "!"},
    ]
    assert view.finish_reasons == ["STOP"]
    assert (view.model_name, view.model_version, view.payload_id) == (
        "gemini-2.5-flash",
        "gemini-2.5-flash-001",
        "r1",
    )
    assert (view.input_tokens, view.output_tokens, view.reasoning_tokens, view.cached_input_tokens) == (
        4,
        9,
        7,
        2,
    )
    assert view.parameters == {"temperature": 0.2, "topP": 0.9, "maxOutputTokens": 5}


def test_whole(read) -> None:
    """A whole answer says it itself."""
    view = read(PATH + "generateContent", {}, piece({"text": "x"}, finishReason="MAX_TOKENS"))
    assert (view.api, view.operation, view.response_view) == ("gemini", "generate_content", None)
    assert view.finish_reasons == ["MAX_TOKENS"]


def test_embeddings(read) -> None:
    """How many, of how many dimensions."""
    view = read(
        PATH + "batchEmbedContents", {}, {"embeddings": [{"values": [1, 2, 3]}, {"values": [1, 2, 3]}]}
    )
    assert (view.operation, view.outputs) == ("embeddings", [Tensor("embedding", "", (2, 3))])
    view = read(PATH + "embedContent", {}, {"embedding": {"values": [1, 2]}})
    assert view.outputs == [Tensor("embedding", "", (1, 2))]


def test_error(read) -> None:
    """The status by its name, and the message."""
    error = {"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}
    view = read(PATH + "generateContent", {}, error, status=400)
    assert (view.failure.type, view.failure.message) == ("INVALID_ARGUMENT", "API key not valid.")
