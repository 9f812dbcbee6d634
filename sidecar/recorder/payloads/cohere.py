"""Cohere's chat, both versions, whole and streamed."""

import re
from typing import Any, Final

from sidecar.recorder.payloads.pieces import Joined, Row
from sidecar.recorder.payloads.tokens import report_tokens
from sidecar.recorder.payloads.view import CallPayloads, View, named, object_of, text_of

_PATH: Final = re.compile(r"/v[12]/chat$")
_PARAMETERS: Final = frozenset(
    {
        "temperature",
        "p",
        "k",
        "seed",
        "max_tokens",
        "stop_sequences",
        "stream",
        "frequency_penalty",
        "presence_penalty",
        "logprobs",
        "response_format",
        "safety_mode",
        "tool_choice",
        "thinking",
    }
)


def read(call: CallPayloads) -> View | None:
    """The View of a call to such an endpoint; None for others."""
    if _PATH.search(call.path) is None:
        return None
    request, events = call.request.document, call.response.objects
    answer = _answer(events) if call.response.is_stream else call.response.document
    view = View(
        api="cohere",
        operation="chat",
        model_name=text_of(answer.get("model")) or text_of(request.get("model")),
        payload_id=text_of(answer.get("id")) or text_of(answer.get("generation_id")),
        parameters=named(_PARAMETERS, request),
    )
    reason = answer.get("finish_reason")
    view.finish_reasons = [reason] if isinstance(reason, str) else []
    report_tokens(view, answer.get("usage") or answer.get("meta"))
    if call.response.is_stream and events:
        view.response_view = answer
    return view


def _answer(events: list[dict[str, Any]]) -> dict[str, Any]:
    """What the events make: of the first version, which ends with the whole, or of the second."""
    answer: dict[str, Any] = {}
    texts: list[str] = []
    message, content, tool_calls = Joined(), Row(), Row()
    for event in events:
        delta = object_of(event.get("delta"))
        piece = object_of(delta.get("message"))
        answer |= {name: event[name] for name in ("id", "generation_id") if name in event}
        answer |= {name: value for name, value in delta.items() if name != "message"}
        texts.append(text_of(event.get("text")) if event.get("event_type") == "text-generation" else "")
        answer |= object_of(event.get("response"))
        if piece.get("content"):
            content.item(event.get("index")).add(object_of(piece["content"]))
        if piece.get("tool_calls"):
            tool_calls.item(event.get("index")).add(object_of(piece["tool_calls"]))
        message.add(piece, ("content", "tool_calls"))
    if any(texts) and "text" not in answer:
        answer["text"] = "".join(texts)
    parts = {"content": content.whole(), "tool_calls": tool_calls.whole()}
    made = message.whole() | {name: part for name, part in parts.items() if part}
    return answer | ({"message": made} if made else {})
