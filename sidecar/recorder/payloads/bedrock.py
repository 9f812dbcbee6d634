"""Bedrock's `/model/ID/converse`, and `/model/ID/invoke` of models without a reader of their own.

Their streams are frames of AWS's own, which stay closed.
"""

import re
from typing import Final
from urllib.parse import unquote

from sidecar.recorder.payloads.tokens import report_tokens
from sidecar.recorder.payloads.view import CallPayloads, View, named, object_of, text_of

_PATH: Final = re.compile(r"/model/([^/]+)/(converse|invoke)(?:-stream|-with-response-stream)?$")
_PARAMETERS: Final = frozenset({"temperature", "topP", "maxTokens", "stopSequences"})


def read(call: CallPayloads) -> View | None:
    """The View of a call to such an endpoint; None for others."""
    match = _PATH.search(call.path)
    if match is None:
        return None
    answer = call.response.document
    view = View(
        api="bedrock",
        operation="chat" if match[2] == "converse" else "text_completion",
        model_name=unquote(match[1]),
        parameters=named(_PARAMETERS, object_of(call.request.document.get("inferenceConfig"))),
    )
    reason = text_of(answer.get("stopReason"))
    view.finish_reasons = [reason] if reason else []
    report_tokens(view, answer.get("usage"))
    return view
