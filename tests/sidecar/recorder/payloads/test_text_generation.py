"""Text Generation Inference, vLLM's plain server, and Triton's generate extension."""


def test_stream_of_tokens(read) -> None:
    """The last event tells the whole text, why it ended, and counts."""
    events = [
        {
            "index": 1,
            "token": {"id": 1, "text": "Hel", "special": False},
            "generated_text": None,
            "details": None,
        },
        {
            "index": 2,
            "token": {"id": 2, "text": "lo", "special": False},
            "generated_text": "Hello",
            "details": {"finish_reason": "length", "generated_tokens": 2, "input_length": 5},
        },
    ]
    request = {"inputs": "Hi", "parameters": {"max_new_tokens": 2, "top_p": 0.5}}
    view = read("/generate_stream", request, *events, media_type="text/event-stream")
    assert view.response_view["generated_text"] == "Hello"
    assert (view.finish_reasons, view.input_tokens, view.output_tokens) == (["length"], 5, 2)
    assert view.parameters == {"max_new_tokens": 2, "top_p": 0.5}
    assert (view.api, view.operation) == ("text_generation", "text_completion")


def test_stream_that_ends_too_soon(read) -> None:
    """Without the last event the tokens make the text; special ones are no part of it."""
    events = [{"token": {"text": text, "special": text == "</s>"}} for text in ("Hel", "lo", "</s>")]
    view = read("/generate_stream", {}, *events, media_type="text/event-stream")
    assert view.response_view == {"generated_text": "Hello"}


def test_whole(read) -> None:
    """One answer; vLLM's parameters stand beside the prompt."""
    view = read("/generate", {"prompt": "Hi", "temperature": 0, "max_tokens": 3}, {"text": ["Hi there"]})
    assert (view.parameters, view.response_view) == ({"temperature": 0, "max_tokens": 3}, None)


def test_triton(read) -> None:
    """The path names model and version; texts of a stream go on."""
    events = [{"model_name": "llm", "model_version": "1", "text_output": text} for text in ("a", "b")]
    view = read(
        "/v2/models/llm/versions/1/generate_stream",
        {"text_input": "x", "max_tokens": 4, "parameters": {"top_k": 1}},
        *events,
        media_type="text/event-stream",
    )
    assert (view.model_name, view.model_version, view.path_version) == ("llm", "1", "1")
    assert (view.api, view.operation) == ("open_inference", "generate")
    assert view.response_view["text_output"] == "ab"
    assert view.parameters == {"max_tokens": 4, "top_k": 1}
