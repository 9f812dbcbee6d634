"""OpenAI's responses API, whole and streamed.

Its stream ends with an event that holds the whole answer. Where that is missing (the client left, or the body
was cut), the answer is put together from the events before: items, their parts, and the pieces of these.
"""

import re
from typing import Any, Final

from sidecar.recorder.payloads.openai import PARAMETERS
from sidecar.recorder.payloads.pieces import Joined, Row
from sidecar.recorder.payloads.tokens import report_tokens
from sidecar.recorder.payloads.view import CallPayloads, View, list_of, named, object_of, text_of

_PATH: Final = re.compile(r"/responses$")
_PARAMETERS: Final = PARAMETERS | {"max_output_tokens", "max_tool_calls", "reasoning", "text", "truncation"}
_LAST: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_UNFINISHED: Final = frozenset({"in_progress", "queued"})
# Events of pieces: the member of an item or part that the piece belongs to.
_ITEM_TEXTS: Final = {
    "response.function_call_arguments.delta": "arguments",
    "response.mcp_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
    "response.code_interpreter_call_code.delta": "code",
}
# … in the list of that name, at the index of that name, under that name.
_PART_TEXTS: Final = {
    "response.output_text.delta": ("content", "content_index", "text"),
    "response.refusal.delta": ("content", "content_index", "refusal"),
    "response.reasoning_text.delta": ("content", "content_index", "text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_index", "text"),
}
_PARTS_ADDED: Final = {
    "response.content_part.added": ("content", "content_index"),
    "response.reasoning_summary_part.added": ("summary", "summary_index"),
}


def read(call: CallPayloads) -> View | None:
    """The View of a call to such an endpoint; None for others."""
    if _PATH.search(call.path) is None:
        return None
    events = call.response.objects
    answer = _answer(events) if call.response.is_stream else call.response.document
    request = call.request.document
    view = View(
        api="openai",
        operation="responses",
        model_name=text_of(answer.get("model")) or text_of(request.get("model")),
        payload_id=text_of(answer.get("id")),
        parameters=named(_PARAMETERS, request),
        finish_reasons=_finish_reasons(answer),
        failed=bool(answer.get("error")) or any(each.get("type") == "error" for each in events),
    )
    report_tokens(view, answer.get("usage"))
    if call.response.is_stream and events:
        view.response_view = answer
    return view


def _finish_reasons(answer: dict[str, Any]) -> list[str]:
    """Why it is incomplete; else its status, where that is an end."""
    reason = object_of(answer.get("incomplete_details")).get("reason") or answer.get("status")
    return [reason] if isinstance(reason, str) and reason not in _UNFINISHED else []


def _answer(events: list[dict[str, Any]]) -> dict[str, Any]:
    """As the last event says it, else as the pieces make it."""
    said = [each["response"] for each in events if isinstance(each.get("response"), dict)]
    is_whole = any(each.get("type") in _LAST for each in events)
    answer = dict(said[-1]) if said else {}
    if not is_whole or not answer.get("output"):
        output = _Output()
        for event in events:
            output.add(event)
        answer["output"] = output.whole()
    return answer


class _Output:
    """The items of an answer, from its events."""

    def __init__(self) -> None:
        self._items = Row()
        # The parts of each item: by its index, and the name of the list that they stand in.
        self._parts: dict[tuple[int, str], Row] = {}

    def add(self, event: dict[str, Any]) -> None:
        kind, index, piece = event.get("type"), event.get("output_index"), event.get("delta")
        if not isinstance(index, int) or not isinstance(kind, str):
            return
        if kind in ("response.output_item.added", "response.output_item.done"):
            self._put_item(index, object_of(event.get("item")), is_done=kind.endswith("done"))
        elif kind in _ITEM_TEXTS:
            self._items.item(index).text(_ITEM_TEXTS[kind], piece)
        elif kind in _PARTS_ADDED:
            listed, number = _PARTS_ADDED[kind]
            self._part(index, listed, event.get(number)).add(object_of(event.get("part")))
        elif kind in _PART_TEXTS:
            listed, number, name = _PART_TEXTS[kind]
            part = self._part(index, listed, event.get(number))
            part.text(name, piece)
            if event.get("logprobs"):
                part.add({"logprobs": list_of(event["logprobs"])})

    def _put_item(self, index: int, item: dict[str, Any], is_done: bool) -> None:
        known = self._items.item(index)
        if not is_done:
            known.add(item)
            return
        for name, value in item.items():
            known.put(name, value)
        for listed in ("content", "summary"):
            self._parts.pop((index, listed), None)

    def _part(self, index: int, listed: str, number: Any) -> Joined:
        self._items.item(index)
        return self._parts.setdefault((index, listed), Row()).item(number)

    def whole(self) -> list[dict[str, Any]]:
        for (index, listed), parts in self._parts.items():
            self._items.item(index).put(listed, parts.whole())
        return self._items.whole()
