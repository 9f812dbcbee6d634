"""No payload breaks a reader, whatever its shape; and none takes more than time that grows with it."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infertap import v1
from sidecar.recorder.json_text import json_text
from sidecar.recorder.payloads import CallPayloads, Failure, Side, View, understand

PATHS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    "/v1/complete",
    "/v1beta/models/g:generateContent",
    "/v1beta/models/g:streamGenerateContent",
    "/v1beta/models/g:batchEmbedContents",
    "/api/chat",
    "/api/generate",
    "/api/embed",
    "/generate",
    "/generate_stream",
    "/v2/models/m/generate_stream",
    "/v2/models/m/infer",
    "/v2/models/m/versions/1",
    "/inference.GRPCInferenceService/ModelInfer",
    "/v1/models/m:predict",
    "/v1/models/m/labels/x:classify",
    "/tensorflow.serving.PredictionService/Predict",
    "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions",
    "/predictions/m/1",
    "/invocations",
    "/v2/chat",
    "/model/amazon.nova/converse",
    "/v1/projects/p/locations/l/endpoints/1:predict",
    "/anything",
)
NAMES = re.findall(
    r"[\w.]+",
    """choices index delta message messages tool_calls function arguments usage error response inputs outputs
    shape name model id parameters text finish_reason type content content_block item output_index part
    content_index partial_json candidates parts embeddings embedding values data done options details token
    special generated_text instances predictions dataframe_split dataframe_records model_spec dtype logprobs
    stop_reason generationConfig usageMetadata prompt_tokens_details cached_tokens detail loc msg stack_trace
    traceback error_code status code version input output summary event_type""",
)
KINDS = re.findall(
    r"[\w.\[-]+",
    """message_start content_block_start content_block_delta message_delta error completion text_delta
    input_json_delta citations_delta response.created response.output_item.added response.output_item.done
    response.output_text.delta response.content_part.added response.function_call_arguments.delta
    response.completed text-generation [[""",
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(KINDS)
)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=20,
)
TYPES = ("application/json", "text/event-stream", "application/x-ndjson", "text/csv", "text/html", "")


def check(view: View) -> None:
    """A record can hold it."""
    model = v1.Model(
        api=view.api,
        operation=view.operation,
        name=view.model_name,
        version=view.model_version or view.path_version,
        finish_reasons=view.finish_reasons,
        parameters_json=json_text(view.parameters),
        input_tokens=view.input_tokens,
        output_tokens=view.output_tokens,
        cached_input_tokens=view.cached_input_tokens,
        reasoning_tokens=view.reasoning_tokens,
        inputs=[v1.Tensor(name=each.name, datatype=each.datatype, shape=each.shape) for each in view.inputs],
        outputs=[
            v1.Tensor(name=each.name, datatype=each.datatype, shape=each.shape) for each in view.outputs
        ],
    )
    assert model.SerializeToString() is not None
    assert isinstance(view.payload_id, str)
    assert isinstance(view.failure, Failure)
    assert all(
        isinstance(text, str) for text in (view.failure.type, view.failure.message, view.failure.stack_trace)
    )
    for shown in (view.request_view, view.response_view):
        assert isinstance(json_text(shown), str)


@settings(max_examples=400)
@given(
    st.sampled_from(PATHS),
    trees,
    st.lists(trees, max_size=5),
    st.sampled_from(TYPES),
    st.binary(max_size=40),
    st.sampled_from([0, 200, 404, 500]),
    st.sampled_from([-1, 0, 5, 200]),
)
def test_any_payload(
    path: str, request: Any, answers: list[Any], media_type: str, data: bytes, status: int, grpc_status: int
) -> None:
    """Whatever shape a payload has, reading it ends in a View that a record can hold."""
    asked, answered = Side("application/json", (request,), data), Side(media_type, tuple(answers), data)
    check(understand(CallPayloads(path, asked, answered, status, grpc_status, "m", tuple(answers))))


def deep(levels: int) -> Any:
    tree: Any = "x"
    for level in range(levels):
        tree = {NAMES[level % len(NAMES)]: [tree]}
    return tree


WIDE = {name: ["x"] * 2000 for name in NAMES}
SAME = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "xx"}}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "answers",
    [
        [deep(200)],
        [WIDE],
        [WIDE] * 50,
        [SAME | {"choices": [{"delta": {"content": "x", "tool_calls": [{"index": 0}] * 50}}] * 20}] * 200,
        [
            {"candidates": [{"index": number, "content": {"parts": [{"text": "x"}]}}]}
            for number in range(5000)
        ],
        [[[[]] * 5000]],
    ],
    ids=["deep", "wide", "wide events", "same", "many", "lists"],
)
def test_large_shapes(path: str, answers: list[Any]) -> None:
    """Deep, wide and many: each is read at once."""
    side = Side("text/event-stream" if len(answers) > 1 else "application/json", tuple(answers), b"x")
    check(understand(CallPayloads(path, Side("application/json", (answers[0],)), side, 500)))


def test_csv_of_one_long_field() -> None:
    """What the CSV reader refuses is kept as it is."""
    data = b'"' + b"x" * 300_000
    view = understand(CallPayloads("/invocations", Side("text/csv", (), data), Side()))
    assert (view.is_odd, view.request_view) == (True, None)


@pytest.mark.parametrize("media_type", ["application/json", "text/event-stream", "application/vnd.api+json"])
def test_called_json_and_none(media_type: str) -> None:
    """A body that is not what its type says is told as such, and changes nothing else."""
    side = Side(media_type, (), b"{broken")
    view = understand(CallPayloads("/v1/chat/completions", side, Side("application/json", ({"id": "c"},))))
    assert (view.is_odd, view.payload_id) == (True, "c")


def test_what_a_view_shows_is_json() -> None:
    """A stream put together is the JSON that the whole answer would have been."""
    events = ({"choices": [{"delta": {"content": "a"}}]}, {"choices": [{"delta": {"content": "b"}}]})
    view = understand(CallPayloads("/v1/chat/completions", Side(), Side("text/event-stream", events)))
    assert json.loads(json_text(view.response_view))["choices"][0]["message"] == {"content": "ab"}
