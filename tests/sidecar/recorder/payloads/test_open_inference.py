"""The Open Inference Protocol V2: inference and questions, over REST and gRPC."""

import struct
from typing import Any

import pytest

from infertap import oip
from sidecar.recorder.payloads import Tensor, decode_grpc

SERVICE = "/inference.GRPCInferenceService/"


def documents(method: str, message: Any, is_request: bool = True) -> tuple[Any, ...]:
    data = message.SerializeToString()
    decoded = decode_grpc(SERVICE + method, is_request, "", struct.pack(">BI", 0, len(data)) + data, 1 << 20)
    assert decoded is not None
    return decoded.documents


@pytest.mark.parametrize("is_raw", [False, True])
def test_infer_over_grpc(read, is_raw: bool) -> None:
    """Model, version, id, parameters and tensors, be their values typed or raw."""
    request = oip.ModelInferRequest(model_name="iris", model_version="2", id="i1")
    request.parameters["sequence_id"].int64_param = 7
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    answer = oip.ModelInferResponse(model_name="iris", model_version="3", id="i1")
    answer.outputs.add(name="y", datatype="INT64", shape=[1]).contents.int64_contents.append(5)
    if is_raw:
        request.raw_input_contents.append(struct.pack("<2f", 0.5, 2))
    else:
        tensor.contents.fp32_contents.extend([0.5, 2])
    asked = documents("ModelInfer", request)
    assert asked[0]["inputs"][0]["data"] == [0.5, 2.0]
    view = read(SERVICE + "ModelInfer", *asked, *documents("ModelInfer", answer, is_request=False))
    assert (view.api, view.operation, view.model_name, view.model_version) == (
        "open_inference",
        "infer",
        "iris",
        "3",
    )
    assert (view.payload_id, view.parameters) == ("i1", {"sequence_id": 7})
    assert view.inputs == [Tensor("x", "FP32", (1, 2))]
    assert view.outputs == [Tensor("y", "INT64", (1,))]


def test_stream_whose_first_answer_failed(read) -> None:
    """The first answer that has outputs tells them; one that failed makes the call fail."""
    answers = [
        {"error_message": "out of memory"},
        {"outputs": [{"name": "y", "datatype": "BYTES", "shape": [1]}]},
    ]
    view = read(SERVICE + "ModelStreamInfer", {"model_name": "llm"}, *answers)
    assert (view.failed, view.failure.message) == (True, "out of memory")
    assert view.outputs == [Tensor("y", "BYTES", (1,))]


@pytest.mark.parametrize(
    ("method", "request_body", "answer", "model"),
    [
        (
            "ModelMetadata",
            {"name": "iris", "version": "1"},
            {"name": "iris", "platform": "sklearn"},
            ("iris", "1"),
        ),
        ("ModelReady", {"name": "iris"}, {"ready": True}, ("iris", "")),
        ("ServerMetadata", {}, {"name": "mlserver", "version": "1.7"}, ("", "")),
    ],
)
def test_questions(read, method: str, request_body: Any, answer: Any, model: tuple[str, str]) -> None:
    """A model's name is told; the server's is none."""
    view = read(SERVICE + method, request_body, answer)
    assert (view.model_name, view.model_version) == model
    assert (view.operation, view.outputs) == ("metadata", [])


def test_questions_over_rest(read) -> None:
    """The path names model and version."""
    view = read("/v2/models/iris/versions/4/ready", None, {"ready": True})
    assert (view.model_name, view.path_version, view.operation) == ("iris", "4", "metadata")


def test_error_over_rest(read) -> None:
    """An error is a text."""
    view = read("/v2/models/iris/infer", {}, {"error": "Model iris not found"}, status=404)
    assert view.failure.message == "Model iris not found"
