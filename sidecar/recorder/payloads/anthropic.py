"""Anthropic's messages and its older completions, whole and streamed; also where a cloud serves them by model
(`/model/ID/invoke`, `/models/ID:rawPredict`).

A stream begins with the message, opens, fills and closes its blocks one by one, and ends with what changed of
the message:

    message_start, (content_block_start, content_block_delta…, content_block_stop)…,
    message_delta, message_stop
"""

import json
import re
from contextlib import suppress
from typing import Any, Final

from sidecar.recorder.payloads.pieces import Row
from sidecar.recorder.payloads.tokens import report_tokens
from sidecar.recorder.payloads.view import CallPayloads, View, named, object_of, text_of

_PATH: Final = re.compile(
    r"/v1/(?:messages|complete)$|/model/([^/]*anthropic[^/]*)/invoke(?:-with-response-stream)?$"
    r"|/publishers/anthropic/models/([^/:@]+)(?:@([^/:]+))?:(?:raw|streamRaw)Predict$"
)
_PARAMETERS: Final = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "max_tokens_to_sample",
        "stop_sequences",
        "stream",
        "thinking",
        "tool_choice",
        "service_tier",
        "anthropic_version",
    }
)
# Pieces of a block: which member of the piece goes on in which member of the block.
_PIECES: Final = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("signature", "signature"),
    "input_json_delta": ("partial_json", "input"),
}


def read(call: CallPayloads) -> View | None:
    """The View of a call to such an endpoint; None for others."""
    match = _PATH.search(call.path)
    if match is None:
        return None
    request, events = call.request.document, call.response.objects
    answer = _answer(events) if call.response.is_stream else call.response.document
    view = View(
        api="anthropic",
        operation="text_completion" if call.path.endswith("/complete") else "chat",
        model_name=text_of(answer.get("model"))
        or text_of(request.get("model"))
        or match[1]
        or match[2]
        or "",
        path_version=match[3] or "",
        payload_id=text_of(answer.get("id")),
        parameters=named(_PARAMETERS, request),
        failed=any(each.get("type") == "error" for each in events),
    )
    reason = answer.get("stop_reason")
    view.finish_reasons = [reason] if isinstance(reason, str) else []
    report_tokens(view, answer.get("usage"))
    if call.response.is_stream and events:
        view.response_view = answer
    return view


def _answer(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that the events of a stream make."""
    answer: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    blocks = Row()
    texts: list[str] = []
    for event in events:
        kind = event.get("type")
        if kind == "message_start":
            answer |= object_of(event.get("message"))
            usage |= object_of(answer.get("usage"))
        elif kind == "message_delta":
            answer |= object_of(event.get("delta"))
            usage |= object_of(event.get("usage"))
        elif kind == "completion":  # of the older interface
            answer |= event
            texts.append(text_of(event.get("completion")))
        elif kind == "error":
            answer["error"] = event.get("error")
        else:
            _add_to_block(blocks, event)
    content = [_read_input(block) for block in blocks.whole()]
    if texts:
        answer["completion"] = "".join(texts)
    else:
        answer["content"] = content
    return answer | ({"usage": usage} if usage else {})


def _add_to_block(blocks: Row, event: dict[str, Any]) -> None:
    if event.get("type") == "content_block_start":
        blocks.item(event.get("index")).add(object_of(event.get("content_block")))
    elif event.get("type") == "content_block_delta":
        delta = object_of(event.get("delta"))
        if delta.get("type") == "citations_delta":
            blocks.item(event.get("index")).add({"citations": [delta.get("citation")]})
        elif delta.get("type") in _PIECES:
            said, name = _PIECES[delta["type"]]
            blocks.item(event.get("index")).text(name, delta.get(said))


def _read_input(block: dict[str, Any]) -> dict[str, Any]:
    """A tool's input comes as JSON text; where that is not whole, it stays text."""
    if isinstance(block.get("input"), str):
        with suppress(ValueError, RecursionError):
            block["input"] = json.loads(block["input"] or "{}")
    return block
