"""TorchServe's messages over gRPC, as documents: what is text is shown as text, what is none by its size.

Pure.
"""

from typing import Any, Final

from infertap.serving import torchserve
from sidecar.recorder.payloads import tensors
from sidecar.recorder.payloads.decoded import Document


def predictions_request(message: Any) -> Document:
    """A PredictionsRequest."""
    names = ("model_name", "model_version", "sequence_id")
    tree: dict[str, Any] = {name: value for name in names if (value := getattr(message, name))}
    readable = True
    tree["input"] = {}
    for name in message.input:
        tree["input"][name], is_readable = _shown(message.input[name])
        readable = readable and is_readable
    return Document(tree, readable)


def prediction_response(message: Any) -> Document:
    """A PredictionResponse."""
    shown, is_readable = _shown(message.prediction)
    return Document({"prediction": shown}, is_readable)


def _shown(data: bytes) -> tuple[Any, bool]:
    """As text also where it is JSON: of two members of one name, a document would show one only."""
    values = tensors.of_elements([data])
    return values.listed[0], values.is_readable


READERS: Final = {
    torchserve.PredictionsRequest: predictions_request,
    torchserve.PredictionResponse: prediction_response,
}
_SERVICE: Final = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/"
# Request and response of each known method.
METHODS: Final = {
    _SERVICE + "Predictions": (torchserve.PredictionsRequest, torchserve.PredictionResponse),
    _SERVICE + "StreamPredictions": (torchserve.PredictionsRequest, torchserve.PredictionResponse),
}
