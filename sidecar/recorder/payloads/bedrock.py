"""Bedrock's `/model/ID/converse`, and `/model/ID/invoke` of models without a reader of their own: parameters,
tokens and reasons by the names that Amazon's (Titan, Nova), Meta's and Mistral's have.

Their streams are frames of AWS's own, which stay closed.
"""

import re
from typing import Any, Final
from urllib.parse import unquote

from sidecar.recorder.payloads.tokens import report_tokens
from sidecar.recorder.payloads.view import (
    CallPayloads,
    View,
    count_of,
    list_of,
    named,
    object_of,
    text_of,
)

_PATH: Final = re.compile(r"/model/([^/]+)/(converse|invoke)(?:-stream|-with-response-stream)?$")
_PARAMETERS: Final = frozenset(
    {
        "temperature",
        "topP",
        "topK",
        "top_p",
        "top_k",
        "maxTokens",
        "maxTokenCount",
        "max_tokens",
        "max_gen_len",
        "max_new_tokens",
        "stop",
        "stopSequences",
    }
)
_CONFIGS: Final = ("inferenceConfig", "textGenerationConfig")
_REASONS: Final = ("stopReason", "stop_reason", "completionReason")


def read(call: CallPayloads) -> View | None:
    """The View of a call to such an endpoint; None for others."""
    match = _PATH.search(call.path)
    if match is None:
        return None
    request, answer = call.request.document, call.response.document
    configs = [object_of(request.get(name)) for name in _CONFIGS]
    view = View(
        api="bedrock",
        operation="chat" if match[2] == "converse" else "text_completion",
        model_name=unquote(match[1]),
        parameters=named(_PARAMETERS, request, *configs),
    )
    results = list(map(object_of, list_of(answer.get("results")) + list_of(answer.get("outputs"))))
    said = [text_of(each.get(name)) for each in (answer, *results) for name in _REASONS]
    view.finish_reasons = [reason for reason in said if reason]
    report_tokens(view, {"input_tokens": _tokens_in(answer), "output_tokens": _tokens_out(answer, results)})
    report_tokens(view, answer.get("usage"))
    return view


def _tokens_in(answer: dict[str, Any]) -> Any:
    return answer.get("inputTextTokenCount", answer.get("prompt_token_count"))


def _tokens_out(answer: dict[str, Any], results: list[dict[str, Any]]) -> Any:
    """Titan counts each of its results."""
    counts = [count for each in results if (count := count_of(each.get("tokenCount"))) is not None]
    return sum(counts) if counts else answer.get("generation_token_count")
