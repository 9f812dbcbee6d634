"""TorchServe: /predictions/M[/V] and /explanations/M[/V], and its gRPC, whose messages come as documents."""

import re
from typing import Final
from urllib.parse import unquote

from sidecar.recorder.payloads.view import MOST_TENSORS, CallPayloads, Tensor, View, object_of, text_of

_PATH: Final = re.compile(r"^(?:/wfpredict|/(predictions|explanations))/([^/]+)(?:/([^/]+))?$")
_GRPC: Final = re.compile(
    r"/org\.pytorch\.serve\.grpc\.inference\.InferenceAPIsService/(?:Stream)?Predictions2?$"
)


def read(call: CallPayloads) -> View | None:
    """The View of a call to TorchServe; None for others."""
    match = _PATH.search(call.path)
    request = call.request.document
    if match is not None:
        return View(
            api="torchserve",
            operation="explain" if match[1] == "explanations" else "predict",
            model_name=unquote(match[2]),
            path_version=unquote(match[3] or ""),
        )
    if _GRPC.search(call.path) is None:
        return None
    inputs = object_of(request.get("input"))
    return View(
        api="torchserve",
        operation="predict",
        model_name=text_of(request.get("model_name")),
        model_version=text_of(request.get("model_version")),
        payload_id=text_of(request.get("sequence_id")),
        inputs=[Tensor(name, "BYTES", ()) for name in list(inputs)[:MOST_TENSORS]],
    )
