"""Any other JSON (BentoML, FastAPI and others): names that many servers use alike."""

from typing import Final

from sidecar.recorder.payloads.openai import PARAMETERS
from sidecar.recorder.payloads.tokens import report_tokens
from sidecar.recorder.payloads.view import CallPayloads, View, named, object_of, text_of

_MODEL_NAMES: Final = ("model", "model_name", "modelName")
_VERSION_NAMES: Final = ("model_version", "modelVersion")
_PARAMETERS: Final = PARAMETERS | {"threshold", "thresholds", "confidence_threshold", "max_new_tokens"}


def read(call: CallPayloads) -> View | None:
    """What the payloads tell under common names; None where they are no JSON objects."""
    request, answer = call.request.document, call.response.document
    if not request and not answer:
        return None
    view = View(parameters=named(_PARAMETERS, request, object_of(request.get("parameters"))))
    for document in (answer, request):
        for name in _MODEL_NAMES:
            view.model_name = view.model_name or text_of(document.get(name))
        for name in _VERSION_NAMES:
            view.model_version = view.model_version or text_of(document.get(name))
    view.payload_id = text_of(request.get("id"))
    report_tokens(view, answer.get("usage"))
    return view
