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
_SERVICE: Final = "/inference.GRPCInferenceService/"
_INFERS: Final = frozenset({"ModelInfer", "ModelStreamInfer"})


def read(call: CallPayloads) -> View | None:
    """The View of a call of this protocol; None for another's."""
    if call.path.startswith(_SERVICE):
        method = call.path.removeprefix(_SERVICE)
        return _infer(call) if method in _INFERS else _about(call, is_model=method.startswith("Model"))
    match = _INFER.search(call.path)
    view = _infer(call) if match else None
    if match is None:
        match = _METADATA.search(call.path)
        view = _about(call, is_model=True) if match else None
    if match is not None and view is not None:
        view.model_name = unquote(match[1])
        view.path_version = unquote(match[2] or "")
    return view


def _infer(call: CallPayloads) -> View:
    request, answers = call.request.document, call.response.objects
    answer = next((each for each in answers if "outputs" in each), call.response.document)
    return View(
        api="open_inference",
        operation="infer",
        model_name=_first(request, answer, "model_name"),
        model_version=_first(answer, request, "model_version"),
        payload_id=_first(request, answer, "id"),
        parameters=object_of(request.get("parameters")),
        inputs=_tensors(request.get("inputs")),
        outputs=_tensors(answer.get("outputs")),
        failed=any(bool(each.get("error_message")) for each in answers),
    )


def _about(call: CallPayloads, is_model: bool) -> View:
    """A question about a model, or about the server, which has a name too."""
    view = View(api="open_inference", operation="metadata")
    if is_model:
        view.model_name = _first(call.request.document, call.response.document, "name")
        view.model_version = _first(call.request.document, {}, "version")
    return view


def _first(one: dict[str, Any], other: dict[str, Any], name: str) -> str:
    return text_of(one.get(name)) or text_of(other.get(name))


def _tensors(listed: Any) -> list[Tensor]:
    return [
        Tensor(text_of(each.get("name")), text_of(each.get("datatype")), sizes_of(each["shape"]))
        for each in list_of(listed)[:MOST_TENSORS]
        if isinstance(each, dict) and "shape" in each
    ]
