"""TensorFlow Serving over gRPC; its messages come as documents (see tensorflow_messages)."""

import re
from typing import Any, Final

from sidecar.recorder.payloads.view import (
    MOST_TENSORS,
    CallPayloads,
    Tensor,
    View,
    object_of,
    sizes_of,
    text_of,
)

_GRPC: Final = re.compile(r"^/tensorflow\.serving\.PredictionService/(Predict|Classify|Regress)$")


def read(call: CallPayloads) -> View | None:
    """The View of a call to such a method; None for others."""
    match = _GRPC.search(call.path)
    if match is None:
        return None
    request, answer = call.request.document, call.response.document
    asked, served = object_of(request.get("model_spec")), object_of(answer.get("model_spec"))
    signature = text_of(served.get("signature_name")) or text_of(asked.get("signature_name"))
    return View(
        api="tensorflow_serving",
        operation=match[1].lower(),
        model_name=text_of(asked.get("name")) or text_of(served.get("name")),
        model_version=_version(served) or _version(asked),
        parameters={"signature_name": signature} if signature else {},
        inputs=_tensors(request.get("inputs")),
        outputs=_tensors(answer.get("outputs")),
    )


def _version(spec: dict[str, Any]) -> str:
    return text_of(spec.get("version")) or text_of(spec.get("version_label"))


def _tensors(listed: Any) -> list[Tensor]:
    return [
        Tensor(name, text_of(tensor.get("dtype")), sizes_of(tensor.get("shape")))
        for name, tensor in list(object_of(listed).items())[:MOST_TENSORS]
        if isinstance(tensor, dict)
    ]
