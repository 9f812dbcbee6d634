"""TensorFlow Serving over gRPC; its messages come as documents (see tensorflow_messages)."""

import re
from typing import Any, Final

from sidecar.recorder.payloads.view import (
    MOST_TENSORS,
    CallPayloads,
    Tensor,
    View,
    list_of,
    object_of,
    sizes_of,
    text_of,
)

_GRPC: Final = re.compile(
    r"^/tensorflow\.serving\.PredictionService/(Predict|Classify|Regress|MultiInference)$"
)
_OPERATIONS: Final = {"MultiInference": "multi_inference"}


def read(call: CallPayloads) -> View | None:
    """The View of a call to such a method; None for others."""
    match = _GRPC.search(call.path)
    if match is None:
        return None
    request, answer = call.request.document, call.response.document
    asked, served = _asked_of(request, "tasks"), _asked_of(answer, "results")
    signature = text_of(served.get("signature_name")) or text_of(asked.get("signature_name"))
    return View(
        api="tensorflow_serving",
        operation=_OPERATIONS.get(match[1], match[1].lower()),
        model_name=text_of(asked.get("name")) or text_of(served.get("name")),
        model_version=_version(served) or _version(asked),
        parameters={"signature_name": signature} if signature else {},
        inputs=_tensors(request.get("inputs")),
        outputs=_tensors(answer.get("outputs")),
    )


def _asked_of(document: dict[str, Any], listed: str) -> dict[str, Any]:
    """The model's specification; of several the first, as all are of one model."""
    several = list_of(document.get(listed))
    spec = object_of(several[0]).get("model_spec") if several else document.get("model_spec")
    return object_of(spec)


def _version(spec: dict[str, Any]) -> str:
    return text_of(spec.get("version")) or text_of(spec.get("version_label"))


def _tensors(listed: Any) -> list[Tensor]:
    return [
        Tensor(name, text_of(tensor.get("dtype")), sizes_of(tensor.get("shape")))
        for name, tensor in list(object_of(listed).items())[:MOST_TENSORS]
        if isinstance(tensor, dict)
    ]
