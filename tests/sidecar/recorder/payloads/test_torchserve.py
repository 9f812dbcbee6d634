"""TorchServe over REST and gRPC."""

import struct

import pytest

from infertap.serving import torchserve
from sidecar.recorder.payloads import decode_grpc

SERVICE = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/"


def framed(message) -> bytes:
    data = message.SerializeToString()
    return struct.pack(">BI", 0, len(data)) + data


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/predictions/densenet161", ("densenet161", "", "predict")),
        ("/predictions/densenet161/1.0", ("densenet161", "1.0", "predict")),
        ("/explanations/mnist", ("mnist", "", "explain")),
    ],
)
def test_paths(read, path: str, told: tuple[str, str, str]) -> None:
    """The path names model and version; the body may be anything."""
    view = read(path)
    assert (view.model_name, view.path_version, view.operation) == told


def test_error(read) -> None:
    """Its frontend's errors: code, type and message."""
    error = {"code": 404, "type": "ModelNotFoundException", "message": "Model not found: x"}
    view = read("/predictions/x", {}, error, status=404)
    assert (view.failure.type, view.failure.message) == ("ModelNotFoundException", "Model not found: x")


def test_grpc(read) -> None:
    """Inputs by name: text as text, what is none by its size; bytes are kept only where all is text."""
    request = torchserve.PredictionsRequest(
        model_name="mnist", input={"data": b'{"a": 1}', "image": b"\x89\x00"}
    )
    decoded = decode_grpc(SERVICE + "Predictions", True, "", framed(request), 1 << 20)
    assert decoded is not None
    assert decoded.data == b""
    [document] = decoded.documents
    assert document == {
        "model_name": "mnist",
        "input": {"data": '{"a": 1}', "image": "<binary 2 bytes>"},
    }
    answer = framed(torchserve.PredictionResponse(prediction=b"[7]"))
    decoded = decode_grpc(SERVICE + "StreamPredictions", False, "", answer * 2, 1 << 20)
    assert decoded is not None
    assert decoded.documents == ({"prediction": "[7]"},) * 2
    assert decoded.data == answer * 2
    view = read(SERVICE + "Predictions", document, *decoded.documents)
    assert (view.api, view.model_name) == ("torchserve", "mnist")
    assert {tensor.name for tensor in view.inputs} == {"data", "image"}
