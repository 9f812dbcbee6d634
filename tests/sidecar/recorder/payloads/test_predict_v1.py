"""KServe's V1 and TensorFlow Serving's REST."""

from typing import Any

import pytest

from sidecar.recorder.payloads import Tensor


@pytest.mark.parametrize(
    ("path", "operation", "version"),
    [
        ("/v1/models/iris:predict", "predict", ""),
        ("/v1/models/iris:explain", "explain", ""),
        ("/v1/models/iris/versions/3:classify", "classify", "3"),
        ("/prefix/v1/models/iris/labels/canary:regress", "regress", "canary"),
    ],
)
def test_paths(read, path: str, operation: str, version: str) -> None:
    """The path names model, version or label, and what is asked."""
    view = read(path, {}, {})
    assert (view.api, view.model_name, view.operation, view.path_version) == (
        "predict_v1",
        "iris",
        operation,
        version,
    )


@pytest.mark.parametrize(
    ("request_body", "inputs"),
    [
        ({"instances": [[6.8, 2.8], [6.0, 3.4]]}, [Tensor("instances", "NUMBER", (2, 2))]),
        ({"instances": [{"b64": "aGk="}]}, [Tensor("instances", "BYTES", (1,))]),
        (
            {"instances": [{"tag": "foo", "signal": [1, 2, 3]}, {"tag": "bar", "signal": [3, 4, 1]}]},
            [Tensor("tag", "BYTES", (2,)), Tensor("signal", "NUMBER", (2, 3))],
        ),
        (
            {"inputs": {"tag": ["foo", "bar"], "on": [[True], [False]]}},
            [Tensor("tag", "BYTES", (2,)), Tensor("on", "BOOL", (2, 1))],
        ),
        ({"examples": [{"age": 3}]}, [Tensor("age", "NUMBER", (1,))]),
        ({"instances": []}, [Tensor("instances", "", (0,))]),
        ({"instances": 3}, [Tensor("instances", "NUMBER", ())]),
        ({}, []),
    ],
)
def test_inputs(read, request_body: dict[str, Any], inputs: list[Tensor]) -> None:
    """Rows and columns, by names where they have them."""
    assert read("/v1/models/iris:predict", request_body, {}).inputs == inputs


def test_answers(read) -> None:
    """Predictions by their shape; the signature is a parameter; an error is a failure."""
    view = read(
        "/v1/models/iris:predict",
        {"signature_name": "serving_default", "instances": [1]},
        {"predictions": [[0.1, 0.9]]},
    )
    assert view.outputs == [Tensor("predictions", "NUMBER", (1, 2))]
    assert view.parameters == {"signature_name": "serving_default"}
    view = read(
        "/v1/models/x:predict", {}, {"error": "Servable not found for request: Latest(x)"}, status=404
    )
    assert (view.failed, view.failure.message) == (True, "Servable not found for request: Latest(x)")


def test_vertex(read) -> None:
    """The path names an endpoint; the answer names what serves it."""
    answer = {"predictions": [1], "deployedModelId": "9", "modelDisplayName": "churn", "modelVersionId": "2"}
    view = read("/v1/projects/p/locations/l/endpoints/77:predict", {"instances": [[1, 2]]}, answer)
    assert (view.model_name, view.model_version, view.operation) == ("churn", "2", "predict")
    assert view.inputs == [Tensor("instances", "NUMBER", (1, 2))]
    assert read("/v1/projects/p/locations/l/endpoints/77:explain", {}, {}).model_name == "77"


def test_vertex_publisher(read) -> None:
    """A language model of Vertex by its publisher's path: model, version, tokens."""
    view = read(
        "/v1/projects/p/locations/l/publishers/google/models/text-bison@002:predict",
        {"instances": [{"prompt": "x"}], "parameters": {"temperature": 0.2}},
        {
            "predictions": [{"content": "y"}],
            "metadata": {
                "tokenMetadata": {
                    "inputTokenCount": {"totalTokens": 3},
                    "outputTokenCount": {"totalTokens": 4},
                }
            },
        },
    )
    assert (view.api, view.model_name, view.path_version) == ("predict_v1", "text-bison", "002")
    assert (view.input_tokens, view.output_tokens) == (3, 4)
    assert view.parameters == {"temperature": 0.2}
