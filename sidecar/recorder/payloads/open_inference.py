"""Open Inference Protocol V2, REST and gRPC alike, and V1's predict (KServe).

The gRPC messages arrive here as documents of the names that REST uses.
"""

import re
from typing import Any, Final
from urllib.parse import unquote

from sidecar.recorder.payloads.view import CallPayloads, Tensor, View, text_of

_V2: Final = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/(?:infer|generate|generate_stream)")
_V1: Final = re.compile(r"/v1/models/([^/:]+)(?:/versions/([^/:]+))?:(?:predict|explain)")
_GRPC: Final = "/inference.GRPCInferenceService/"
# A tensor has no more dimensions than this, and a call no more tensors, that anyone would want to list.
_MOST_TENSORS: Final = 256
_MOST_DIMENSIONS: Final = 16


def read(call: CallPayloads) -> View | None:
    """The View of a call of this protocol; None for another's."""
    match = _V2.search(call.path) or _V1.search(call.path)
    if match is None and not call.path.startswith(_GRPC):
        return None
    request, response = call.request.document, call.response.document
    view = View(
        model_name=unquote(match[1]) if match else _first(request, response, "model_name"),
        model_version=(match[2] or "" if match else "") or _first(response, request, "model_version"),
        payload_id=_first(request, response, "id"),
        inputs=_tensors(request.get("inputs")),
        outputs=_tensors(response.get("outputs")),
        failed=any(isinstance(each, dict) and each.get("error_message") for each in call.response.documents),
    )
    parameters = request.get("parameters")
    view.parameters = parameters if isinstance(parameters, dict) else {}
    return view


def _first(one: dict[str, Any], other: dict[str, Any], name: str) -> str:
    return text_of(one.get(name)) or text_of(other.get(name))


def _tensors(listed: Any) -> list[Tensor]:
    if not isinstance(listed, list):
        return []
    return [_tensor(each) for each in listed[:_MOST_TENSORS] if isinstance(each, dict) and "shape" in each]


def _tensor(described: dict[str, Any]) -> Tensor:
    shape = described["shape"] if isinstance(described["shape"], list) else []
    sizes = [
        size for size in shape[:_MOST_DIMENSIONS] if isinstance(size, int) and -(1 << 63) <= size < 1 << 63
    ]
    return Tensor(text_of(described.get("name")), text_of(described.get("datatype")), tuple(sizes))
