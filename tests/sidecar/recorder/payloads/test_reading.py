"""What a call's payloads tell, by protocol; and never a failure, whatever they hold."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.recorder.payloads import CallPayloads, Side, Tensor, View, understand

CHAT = "/v1/chat/completions"


def read(path: str, request: Any = None, *answers: Any, media_type: str = "application/json") -> View:
    sides = Side("application/json", () if request is None else (request,)), Side(media_type, answers)
    return understand(CallPayloads(path, *sides))


def streamed(*answers: Any, path: str = CHAT) -> View:
    return read(path, {"model": "asked"}, *answers, media_type="text/event-stream")


def delta(index: int = 0, finish_reason: str | None = None, **given: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": given, "finish_reason": finish_reason}]}


# -- OpenAI


def test_whole_chat() -> None:
    """Model, id, parameters, tokens and finish reasons; the body says the rest itself."""
    view = read(
        "/openai/deployments/d/chat/completions",
        {"model": "asked", "temperature": 0, "max_tokens": 5, "messages": []},
        {
            "id": "c1",
            "model": "served",
            "choices": [{"finish_reason": "stop"}, {"finish_reason": "length"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 0},
        },
    )
    assert (view.model_name, view.payload_id) == ("served", "c1")
    assert view.parameters == {"temperature": 0, "max_tokens": 5}
    assert (view.input_tokens, view.output_tokens) == (3, 0)
    assert view.finish_reasons == ["stop", "length"]
    assert view.response_view is None


def test_choices_of_a_stream_are_kept_apart() -> None:
    """Pieces of several choices come mixed; each choice gets its own."""
    view = streamed(
        delta(1, content="B"),
        delta(0, role="assistant", content="A"),
        delta(1, content="b"),
        delta(0, "stop", content="a"),
        delta(1, "length"),
    )
    assert [choice["message"]["content"] for choice in view.response_view["choices"]] == ["Aa", "Bb"]
    assert view.finish_reasons == ["stop", "length"]


def test_tool_calls_are_put_together() -> None:
    """A tool call's arguments come in pieces, its name and id at once; further fields are kept."""
    view = streamed(
        delta(
            tool_calls=[
                {"index": 0, "id": "t1", "type": "function", "function": {"name": "look", "arguments": ""}}
            ]
        ),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"at"'}}]),
        delta(tool_calls=[{"index": 1, "id": "t2", "function": {"name": "go", "arguments": "{}"}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}], reasoning="so"),
        delta(0, "tool_calls", reasoning=" be it"),
    )
    [choice] = view.response_view["choices"]
    assert choice["message"] == {
        "tool_calls": [
            {
                "index": 0,
                "id": "t1",
                "type": "function",
                "function": {"name": "look", "arguments": '{"at":1}'},
            },
            {"index": 1, "id": "t2", "function": {"name": "go", "arguments": "{}"}},
        ],
        "reasoning": "so be it",
    }


def test_many_tool_calls() -> None:
    """Time grows with the stream, not with its square: this would otherwise take a minute."""
    calls = [{"index": number, "function": {"arguments": "{}"}} for number in range(60_000)]
    view = streamed(delta(tool_calls=calls))
    assert len(view.response_view["choices"][0]["message"]["tool_calls"]) == 60_000


def test_streamed_text_completion() -> None:
    """The older completions have text instead of messages."""
    view = streamed(
        {"choices": [{"index": 0, "text": "Hel"}]},
        {"choices": [{"index": 0, "text": "lo", "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}},
        path="/v1/completions",
    )
    assert view.response_view["choices"][0]["text"] == "Hello"
    assert (view.input_tokens, view.output_tokens) == (1, None)


def test_responses() -> None:
    """OpenAI's responses end with an event that holds the whole answer."""
    whole = {"id": "r1", "model": "m", "output": [], "usage": {"input_tokens": 4, "output_tokens": 6}}
    view = streamed(
        {"type": "response.output_text.delta", "delta": "Hi"},
        {"type": "response.completed", "response": whole},
        path="/v1/responses",
    )
    assert (view.response_view, view.payload_id, view.model_name) == (whole, "r1", "m")
    assert (view.input_tokens, view.output_tokens, view.failed) == (4, 6, False)


def test_embeddings() -> None:
    """Only the model and what was counted."""
    view = read("/v1/embeddings", {"model": "e", "input": "x"}, {"data": [], "usage": {"prompt_tokens": 2}})
    assert (view.model_name, view.input_tokens, view.output_tokens) == ("e", 2, None)


@pytest.mark.parametrize("count", [-1, 1.5, True, "7", None, 1 << 63])
def test_counts_that_are_none(count: Any) -> None:
    """Tokens are as reported, or absent."""
    assert read(CHAT, {}, {"usage": {"prompt_tokens": count}}).input_tokens is None


# -- Open Inference Protocol


def test_model_and_version_of_the_path() -> None:
    """The path names the model; of versions the payload's and the path's are told apart."""
    view = read("/v2/models/org%2Firis/infer", {"id": "i"}, {"model_name": "other", "model_version": "3"})
    assert (view.model_name, view.model_version, view.payload_id) == ("org/iris", "3", "i")
    view = read("/prefix/v2/models/iris/versions/2/infer", {}, {"model_version": "3"})
    assert (view.model_version, view.path_version) == ("3", "2")


def test_tensors() -> None:
    """Names, types and shapes; outputs that a request asks for are no tensors."""
    request = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [2, -1], "data": []}],
        "outputs": [{"name": "y"}],
    }
    answer = {"outputs": [{"name": "y", "datatype": "INT64", "shape": [2]}, {"name": "no shape"}]}
    view = read("/v2/models/iris/infer", request, answer)
    assert view.inputs == [Tensor("x", "FP32", (2, -1))]
    assert view.outputs == [Tensor("y", "INT64", (2,))]


def test_predict_of_kserve() -> None:
    """The V1 protocol's path names its model."""
    view = read("/v1/models/iris:predict", {"instances": [[1]]}, {"predictions": [0]})
    assert view.model_name == "iris"


# -- anything


def test_any_other_json() -> None:
    """Names that many servers use alike."""
    view = read("/rank", {"model": "m", "id": 5}, {"model_version": "2"})
    assert (view.model_name, view.model_version, view.payload_id) == ("m", "2", "5")


def test_rows_of_any_other_json() -> None:
    """Lists under names that many servers have for rows are told by their shapes; objects are not."""
    view = read("/classify", {"input_data": [[1, 2], [3, 4]], "threshold": 0.5}, {"prediction": [0, 1]})
    assert view.inputs == [Tensor("input_data", "NUMBER", (2, 2))]
    assert view.outputs == [Tensor("prediction", "NUMBER", (2,))]
    assert view.parameters == {"threshold": 0.5}
    assert read("/x", {"inputs": {"a": 1}, "data": "text"}, {}).inputs == []


def test_bedrock() -> None:
    """The path names the model; usage and reason by the names of AWS."""
    request = {"messages": [], "inferenceConfig": {"maxTokens": 9, "temperature": 0}}
    usage = {"inputTokens": 30, "outputTokens": 628, "totalTokens": 658, "cacheReadInputTokens": 4}
    view = read(
        "/model/amazon.nova-lite-v1%3A0/converse", request, {"stopReason": "end_turn", "usage": usage}
    )
    assert (view.api, view.operation, view.model_name) == ("bedrock", "chat", "amazon.nova-lite-v1:0")
    assert (view.input_tokens, view.output_tokens, view.cached_input_tokens) == (30, 628, 4)
    assert (view.finish_reasons, view.parameters) == (["end_turn"], {"maxTokens": 9, "temperature": 0})


def test_nothing_known() -> None:
    """Without documents there is nothing to tell."""
    assert read("/x") == View()


NAMES = [
    "choices",
    "index",
    "delta",
    "tool_calls",
    "function",
    "arguments",
    "usage",
    "error",
    "response",
    "inputs",
    "outputs",
    "shape",
    "name",
    "model",
    "id",
    "parameters",
    "text",
    "finish_reason",
]
trees = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 1 << 70) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(
    st.sampled_from([CHAT, "/v1/completions", "/v1/responses", "/v2/models/m/infer", "/x"]),
    trees,
    st.lists(trees, max_size=4),
    st.sampled_from(["application/json", "text/event-stream"]),
)
def test_any_payload(path: str, request: Any, answers: list[Any], media_type: str) -> None:
    """Whatever shape a payload has, reading it ends in a View with values of the right types."""
    view = read(path, request, *answers, media_type=media_type)
    assert all(isinstance(reason, str) for reason in view.finish_reasons)
    assert isinstance(view.model_name, str)
    assert isinstance(view.parameters, dict)


def test_deployment_of_azure() -> None:
    """Where neither side names a model, as in its errors, the path does."""
    view = read("/openai/deployments/gpt%204/chat/completions", {"messages": []}, {"error": {"code": "429"}})
    assert view.model_name == "gpt 4"


def test_name_beside_a_cut() -> None:
    """What redaction withheld there is no name: the pieces before tell it."""
    assert streamed({"model": "m", "choices": []}, {"model": "<cut>", "choices": []}).model_name == "m"
    pieces = {"modelVersion": "g-1", "candidates": []}, {"modelVersion": "<cut>"}
    assert read("/v1beta/models/g:streamGenerateContent", {}, *pieces).model_version == "g-1"
