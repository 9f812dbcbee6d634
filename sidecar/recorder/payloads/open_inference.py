"""Open Inference Protocol V2, REST and gRPC alike.

The gRPC messages arrive here as documents of the names that REST uses.
"""

import re
from typing import Any, Final
from urllib.parse import unquote

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

_INFER: Final = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer$")
_METADATA: Final = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/ready)?$")
_GRPC: Final = re.compile(r"^/inference\.GRPCInferenceService/(\w+)$")
_INFERS: Final = frozenset({"ModelInfer", "ModelStreamInfer"})


def read(call: CallPayloads) -> View | None:
    """The View of a call of this protocol; None for another's."""
    infer = _INFER.search(call.path)
    match = infer or _METADATA.search(call.path)
    method = _GRPC.search(call.path) if match is None else None
    if match is None and method is None:
        return None
    request, response = call.request.document, call.response.document
    is_infer = infer is not None or (method is not None and method[1] in _INFERS)
    view = View(
        api="open_inference",
        operation="infer" if is_infer else "metadata",
        model_name=unquote(match[1]) if match else _first(request, response, _names(is_infer, "model_name")),
        model_version=_first(response, request, _names(is_infer, "model_version")),
        path_version=unquote(match[2] or "") if match else "",
        payload_id=_first(request, response, "id"),
        parameters=object_of(request.get("parameters")),
        failed=any(bool(each.get("error_message")) for each in call.response.objects),
    )
    if is_infer:
        view.inputs = _tensors(request.get("inputs"))
        view.outputs = _tensors(response.get("outputs"))
    return view


def _names(is_infer: bool, name: str) -> str:
    """What questions about a model call it."""
    return name if is_infer else name.removeprefix("model_")


def _first(one: dict[str, Any], other: dict[str, Any], name: str) -> str:
    return text_of(one.get(name)) or text_of(other.get(name))


def _tensors(listed: Any) -> list[Tensor]:
    return [
        Tensor(text_of(each.get("name")), text_of(each.get("datatype")), sizes_of(each["shape"]))
        for each in list_of(listed)[:MOST_TENSORS]
        if isinstance(each, dict) and "shape" in each
    ]
