"""Any other JSON or form (BentoML, FastAPI, transcriptions): names that many servers use alike."""

from typing import Any, Final

from sidecar.recorder.payloads.form import fields_of
from sidecar.recorder.payloads.openai import PARAMETERS
from sidecar.recorder.payloads.predict_v1 import described
from sidecar.recorder.payloads.tokens import report_tokens
from sidecar.recorder.payloads.view import CallPayloads, Tensor, View, named, object_of, text_of

_MODEL_NAMES: Final = ("model", "model_name", "modelName")
_VERSION_NAMES: Final = ("model_version", "modelVersion")
_ASKED: Final = ("instances", "inputs", "input_data", "data", "features")
_ANSWERED: Final = ("predictions", "outputs", "prediction", "scores", "probabilities", "result")
_PARAMETERS: Final = PARAMETERS | {"threshold", "thresholds", "confidence_threshold", "max_new_tokens"}


def read(call: CallPayloads) -> View | None:
    """What the payloads tell under common names; None where they are no JSON objects, and no form."""
    request, answer = call.request.document or fields_of(call.request), call.response.document
    if not request and not answer:
        return None
    view = View(parameters=named(_PARAMETERS, request, object_of(request.get("parameters"))))
    for document in (answer, request):
        for name in _MODEL_NAMES:
            view.model_name = view.model_name or text_of(document.get(name))
        for name in _VERSION_NAMES:
            view.model_version = view.model_version or text_of(document.get(name))
    view.payload_id = text_of(request.get("id"))
    view.inputs = _lists(request, _ASKED)
    view.outputs = _lists(answer, _ANSWERED)
    report_tokens(view, answer.get("usage"))
    return view


def _lists(document: dict[str, Any], names: tuple[str, ...]) -> list[Tensor]:
    """Rows, where they stand under a name that says so."""
    return described({name: value for name, value in document.items() if isinstance(value, list)}, names)
