"""Ollama's own interface: /api/chat, /api/generate, /api/embed and /api/embeddings; answers stream as JSON
Lines, of which the last says `done`, why, and what was counted.
"""

import re
from typing import Any, Final

from sidecar.recorder.payloads.pieces import Joined
from sidecar.recorder.payloads.tokens import report_tokens
from sidecar.recorder.payloads.view import (
    CallPayloads,
    Tensor,
    View,
    list_of,
    named,
    object_of,
    shape_of,
    text_of,
)

_PATH: Final = re.compile(r"/api/(chat|generate|embed|embeddings)$")
_OPERATIONS: Final = {"chat": "chat", "generate": "text_completion"}
_PARAMETERS: Final = frozenset({"stream", "format", "keep_alive", "think", "raw", "truncate"})
_PIECES: Final = ("message", "response", "thinking")


def read(call: CallPayloads) -> View | None:
    """The View of a call to such an endpoint; None for others."""
    match = _PATH.search(call.path)
    if match is None:
        return None
    request, answers = call.request.document, call.response.objects
    last = answers[-1] if answers else {}
    view = View(
        api="ollama",
        operation=_OPERATIONS.get(match[1], "embeddings"),
        model_name=text_of(last.get("model")) or text_of(request.get("model")),
        parameters=named(_PARAMETERS, request) | object_of(request.get("options")),
        failed=any(bool(each.get("error")) for each in answers),
    )
    if isinstance(last.get("done_reason"), str):
        view.finish_reasons = [last["done_reason"]]
    report_tokens(view, last)
    if view.operation == "embeddings":
        many, one = list_of(last.get("embeddings")), list_of(last.get("embedding"))
        if many or one:
            view.outputs = [Tensor("embedding", "", shape_of(many or [one]))]
    elif call.response.is_stream and answers:
        view.response_view = _put_together(answers)
    return view


def _put_together(answers: list[dict[str, Any]]) -> dict[str, Any]:
    joined = Joined()
    for answer in answers:
        joined.add({name: answer[name] for name in _PIECES if name in answer})
    return answers[-1] | joined.whole()
