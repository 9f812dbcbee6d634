"""Any other JSON: names that many servers use alike."""

from sidecar.recorder.payloads.view import CallPayloads, View, text_of

_MODEL_NAMES = ("model", "model_name", "modelName")
_VERSION_NAMES = ("model_version", "modelVersion")


def read(call: CallPayloads) -> View | None:
    """What the payloads tell under common names; None where they are no JSON objects."""
    if not call.request.document and not call.response.document:
        return None
    view = View()
    for document in (call.response.document, call.request.document):
        for name in _MODEL_NAMES:
            view.model_name = view.model_name or text_of(document.get(name))
        for name in _VERSION_NAMES:
            view.model_version = view.model_version or text_of(document.get(name))
    view.payload_id = text_of(call.request.document.get("id"))
    return view
