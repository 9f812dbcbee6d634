"""The first version of the inference protocol: KServe's V1 and TensorFlow Serving's REST, which share their
paths and their shapes; by rows (`instances`, `examples`) and by columns (`inputs`). And Vertex AI,
whose answers name the model.
"""

import re
from typing import Any, Final
from urllib.parse import unquote

from sidecar.recorder.payloads.tokens import report_tokens
from sidecar.recorder.payloads.view import (
    MOST_TENSORS,
    CallPayloads,
    Tensor,
    View,
    object_of,
    shape_of,
    text_of,
)

_PATH: Final = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>[^/:]+)|/labels/(?P<label>[^/:]+))?"
    r":(?P<verb>predict|explain|classify|regress)$"
)
_VERTEX: Final = re.compile(
    r"/(?:endpoints|publishers/[^/]+/models)/(?P<model>[^/:@]+)(?:@(?P<version>[^/:]+))?:(?P<verb>predict|explain)$"
)
_ASKED: Final = ("instances", "examples", "inputs")
_ANSWERED: Final = ("predictions", "explanations", "outputs", "result", "results")
# Of Vertex's language models: where tokens are counted.
_COUNTS: Final = (("input_tokens", "inputTokenCount"), ("output_tokens", "outputTokenCount"))
_ROWS: Final = frozenset({"instances", "examples", "predictions"})


def read(call: CallPayloads) -> View | None:
    """The View of a call of this protocol; None for another's."""
    match = _PATH.search(call.path) or _VERTEX.search(call.path)
    if match is None:
        return None
    request, answer = call.request.document, call.response.document
    said = match.groupdict()
    view = View(
        api="predict_v1",
        operation=match["verb"],
        model_name=text_of(answer.get("modelDisplayName")) or unquote(match["model"]),
        model_version=text_of(answer.get("model_version")) or text_of(answer.get("modelVersionId")),
        path_version=unquote(said.get("version") or said.get("label") or ""),
        payload_id=text_of(request.get("id")),
        inputs=described(request, _ASKED),
        outputs=described(answer, _ANSWERED),
        failed="error" in answer,
    )
    if isinstance(request.get("signature_name"), str):
        view.parameters["signature_name"] = request["signature_name"]
    if isinstance(request.get("parameters"), dict):
        view.parameters |= request["parameters"]
    counts = object_of(object_of(answer.get("metadata")).get("tokenMetadata"))
    report_tokens(view, {name: object_of(counts.get(place)).get("totalTokens") for name, place in _COUNTS})
    return view


def described(document: dict[str, Any], names: tuple[str, ...]) -> list[Tensor]:
    """What stands in `document` under the first of `names` that it has, as tensors: one for each column or
    member where these have names.
    """
    for name in names:
        if name in document:
            value = document[name]
            if isinstance(value, dict):
                return _columns(value)
            first = value[0] if isinstance(value, list) and value else None
            if isinstance(first, dict) and name in _ROWS and "b64" not in first:
                return _members(first, len(value))
            return [Tensor(name, _datatype(value), shape_of(value))]
    return []


def _columns(columns: dict[str, Any]) -> list[Tensor]:
    listed = list(columns.items())[:MOST_TENSORS]
    return [Tensor(name, _datatype(value), shape_of(value)) for name, value in listed]


def _members(first: dict[str, Any], count: int) -> list[Tensor]:
    """Rows that are objects: each member is a tensor with the rows as its first dimension."""
    listed = list(first.items())[:MOST_TENSORS]
    return [Tensor(name, _datatype(value), (count, *shape_of(value))) for name, value in listed]


def _datatype(value: Any) -> str:
    """What JSON tells of it."""
    for _ in range(64):
        if not isinstance(value, list) or not value:
            break
        value = value[0]
    if isinstance(value, bool):
        return "BOOL"
    if isinstance(value, int | float):
        return "NUMBER"
    return "BYTES" if isinstance(value, str | dict) else ""
