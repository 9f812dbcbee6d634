"""Ollama's own interface."""

from sidecar.recorder.payloads import Tensor

DONE = {"model": "llama3.2", "done": True, "done_reason": "stop", "prompt_eval_count": 26, "eval_count": 298}
LINES = "application/x-ndjson"


def test_chat(read) -> None:
    """Pieces of the message make the whole; the last line counts."""
    pieces = [
        {"model": "llama3.2", "message": {"role": "assistant", "content": text}, "done": False}
        for text in ("The", " sky")
    ]
    calls = [{"function": {"name": "look", "arguments": {"at": 1}}}]
    last = DONE | {"message": {"role": "assistant", "content": "", "tool_calls": calls}}
    request = {"model": "llama3.2", "options": {"temperature": 0, "seed": 101}, "stream": True}
    view = read("/api/chat", request, *pieces, last, media_type=LINES)
    assert view.response_view["message"] == {"role": "assistant", "content": "The sky", "tool_calls": calls}
    assert (view.input_tokens, view.output_tokens, view.finish_reasons) == (26, 298, ["stop"])
    assert view.parameters == {"temperature": 0, "seed": 101, "stream": True}
    assert (view.api, view.operation, view.model_name) == ("ollama", "chat", "llama3.2")


def test_generate(read) -> None:
    """Pieces of the response."""
    view = read(
        "/api/generate", {}, {"response": "a", "done": False}, DONE | {"response": "b"}, media_type=LINES
    )
    assert (view.response_view["response"], view.operation) == ("ab", "text_completion")


def test_whole(read) -> None:
    """One document is the whole answer."""
    assert read("/api/chat", {"stream": False}, DONE | {"message": {"content": "x"}}).response_view is None


def test_embeddings(read) -> None:
    """Both of its interfaces of embeddings, of which one is named as OpenAI's is."""
    view = read("/api/embed", {"model": "m"}, {"embeddings": [[1.0, 2.0], [3.0, 4.0]]})
    assert (view.operation, view.outputs) == ("embeddings", [Tensor("embedding", "", (2, 2))])
    view = read("/api/embeddings", {"model": "m"}, {"embedding": [1.0, 2.0, 3.0]})
    assert (view.api, view.outputs) == ("ollama", [Tensor("embedding", "", (1, 3))])


def test_error(read) -> None:
    """An error is a text, in a line of its own where it comes late."""
    view = read("/api/chat", {}, {"message": {"content": "x"}}, {"error": "out of memory"}, media_type=LINES)
    assert (view.failed, view.failure.message) == (True, "out of memory")
