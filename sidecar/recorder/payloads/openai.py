"""OpenAI-compatible calls: chat and text completions, responses, embeddings; whole and streamed.

A stream's events are put together into the message that the whole answer would have held.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from sidecar.recorder.payloads.view import CallPayloads, View, count_of, text_of

_PATH: Final = re.compile(r"/(?:chat/completions|completions|embeddings|responses)$")
PARAMETERS: Final = (
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "stop",
    "n",
    "stream",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "response_format",
    "tool_choice",
    "reasoning_effort",
    "dimensions",
    "encoding_format",
)


def read(call: CallPayloads) -> View | None:
    """The View of a call to such an endpoint; None for others."""
    if _PATH.search(call.path) is None:
        return None
    request = call.request.document
    answers = [each for each in call.response.documents if isinstance(each, dict)]
    is_stream = call.response.media_type == "text/event-stream"
    view = View(
        model_name=_last_text(answers, "model") or text_of(request.get("model")),
        payload_id=_last_text(answers, "id"),
        parameters={name: request[name] for name in PARAMETERS if name in request},
        failed=any(bool(each.get("error")) for each in answers),
    )
    _count_tokens(view, answers)
    choices = _Choices()
    for answer in answers:
        choices.add(answer)
    view.finish_reasons = choices.finish_reasons()
    if is_stream and answers:
        view.response_view = _put_together(answers, choices)
    return view


def _last_text(answers: list[dict[str, Any]], name: str) -> str:
    for answer in reversed(answers):
        # The responses API wraps the answer in its events.
        inner = answer.get("response")
        found = text_of(answer.get(name)) or (text_of(inner.get(name)) if isinstance(inner, dict) else "")
        if found:
            return found
    return ""


def _count_tokens(view: View, answers: Iterable[dict[str, Any]]) -> None:
    """As reported, by the last that reports; never guessed."""
    for answer in answers:
        inner = answer.get("response")
        usage = answer.get("usage") or (inner.get("usage") if isinstance(inner, dict) else None)
        if isinstance(usage, dict):
            view.input_tokens = count_of(usage.get("prompt_tokens", usage.get("input_tokens")))
            view.output_tokens = count_of(usage.get("completion_tokens", usage.get("output_tokens")))


class _Choices:
    """The choices of an answer, put together from its events, by index."""

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}

    def add(self, answer: dict[str, Any]) -> None:
        listed = answer.get("choices")
        for position, choice in enumerate(listed if isinstance(listed, list) else []):
            if isinstance(choice, dict):
                index = _index(choice, position)
                self._choices.setdefault(index, _Choice(index)).add(choice)

    def finish_reasons(self) -> list[str]:
        reasons = [self._choices[index].whole["finish_reason"] for index in sorted(self._choices)]
        return [reason for reason in reasons if isinstance(reason, str)]

    def listed(self) -> list[dict[str, Any]]:
        return [self._choices[index].whole for index in sorted(self._choices)]


class _Choice:
    """One choice; `whole` is what its pieces make."""

    def __init__(self, index: int) -> None:
        self._message: dict[str, Any] = {}
        # By their index, and in their order.
        self._tool_calls: dict[int, dict[str, Any]] = {}
        self._listed_tool_calls: list[dict[str, Any]] = []
        self.whole: dict[str, Any] = {"index": index, "message": self._message, "finish_reason": None}

    def add(self, choice: dict[str, Any]) -> None:
        if choice.get("finish_reason") is not None:
            self.whole["finish_reason"] = choice["finish_reason"]
        if isinstance(choice.get("text"), str):
            self.whole["text"] = self.whole.get("text", "") + choice["text"]
        delta = choice.get("delta")
        if isinstance(delta, dict):
            self._add_delta(delta)

    def _add_delta(self, delta: dict[str, Any]) -> None:
        for name, value in delta.items():
            if name == "tool_calls" and isinstance(value, list):
                self._add_tool_calls(value)
            elif name == "role" or not isinstance(value, str):
                if value is not None:
                    self._message[name] = value
            else:
                before = self._message.get(name)
                self._message[name] = (before if isinstance(before, str) else "") + value

    def _add_tool_calls(self, pieces: list[Any]) -> None:
        for piece in pieces:
            if not isinstance(piece, dict):
                continue
            index = _index(piece, 0)
            known = self._tool_calls.get(index)
            if known is None:
                known = {"index": index, "function": {"name": "", "arguments": ""}}
                self._tool_calls[index] = known
                self._listed_tool_calls.append(known)
            known.update({name: piece[name] for name in ("id", "type") if piece.get(name) is not None})
            function = piece.get("function")
            for name in ("name", "arguments"):
                if isinstance(function, dict) and isinstance(function.get(name), str):
                    known["function"][name] += function[name]
        self._message["tool_calls"] = self._listed_tool_calls


def _index(piece: dict[str, Any], otherwise: int) -> int:
    index = piece.get("index")
    return index if isinstance(index, int) else otherwise


def _put_together(answers: list[dict[str, Any]], choices: _Choices) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for name in ("id", "object", "created", "model", "usage", "error"):
        for answer in reversed(answers):
            if answer.get(name) is not None:
                whole[name] = answer[name]
                break
    whole["choices"] = choices.listed()
    # The responses API sends the whole answer in its last event.
    for answer in reversed(answers):
        if isinstance(answer.get("response"), dict):
            return dict(answer["response"])
    return whole
