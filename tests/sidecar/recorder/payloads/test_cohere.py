"""Cohere's chat."""


def test_second_version(read) -> None:
    """Pieces of content by their index, the reason and the tokens of the last event."""
    usage = {"billed_units": {"input_tokens": 5}, "tokens": {"input_tokens": 71, "output_tokens": 418}}
    events = [
        {"id": "c1", "type": "message-start", "delta": {"message": {"role": "assistant"}}},
        {
            "type": "content-start",
            "index": 0,
            "delta": {"message": {"content": {"type": "text", "text": ""}}},
        },
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "LL"}}}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Ms"}}}},
        {
            "type": "tool-call-start",
            "index": 0,
            "delta": {"message": {"tool_calls": {"id": "t", "function": {"name": "f", "arguments": ""}}}},
        },
        {
            "type": "tool-call-delta",
            "index": 0,
            "delta": {"message": {"tool_calls": {"function": {"arguments": "{}"}}}},
        },
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}},
    ]
    view = read("/v2/chat", {"model": "command-r", "p": 0.1, "k": 3}, *events, media_type="text/event-stream")
    assert view.response_view["message"] == {
        "role": "assistant",
        "content": [{"type": "text", "text": "LLMs"}],
        "tool_calls": [{"id": "t", "function": {"name": "f", "arguments": "{}"}}],
    }
    assert (view.finish_reasons, view.input_tokens, view.output_tokens) == (["COMPLETE"], 71, 418)
    assert (view.api, view.model_name, view.payload_id) == ("cohere", "command-r", "c1")
    assert view.parameters == {"p": 0.1, "k": 3}


def test_first_version(read) -> None:
    """Pieces of text, and at the end the whole, which need not come."""
    events = [{"event_type": "text-generation", "text": text} for text in ("a", "b")]
    view = read("/v1/chat", {}, *events, media_type="application/x-ndjson")
    assert view.response_view["text"] == "ab"
