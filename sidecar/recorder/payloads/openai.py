"""OpenAI-compatible calls: chat and text completions, and embeddings; whole and streamed.

A stream's events are put together into the answer that would have come whole. The responses API has a module
of its own.
"""

import re
from typing import Any, Final
from urllib.parse import unquote

from sidecar.recorder.payloads.pieces import Joined, Row
from sidecar.recorder.payloads.tokens import report_tokens
from sidecar.recorder.payloads.view import (
    CallPayloads,
    Tensor,
    View,
    list_of,
    name_of,
    named,
    shape_of,
    text_of,
)

_PATH: Final = re.compile(r"/(chat/completions|completions|embeddings)$")
# Azure's paths name a deployment, which its errors do not.
_DEPLOYMENT: Final = re.compile(r"/deployments/([^/]+)/[a-z/]+$")
_OPERATIONS: Final = {
    "chat/completions": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
}
PARAMETERS: Final = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "seed",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "n",
        "best_of",
        "stream",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "response_format",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning_effort",
        "modalities",
        "service_tier",
        "dimensions",
        "encoding_format",
        "guided_json",
        "guided_regex",
        "guided_choice",
    }
)
# What stands in every event of a stream alike, and so in the whole.
_REPEATED: Final = (
    "id",
    "object",
    "created",
    "model",
    "system_fingerprint",
    "service_tier",
    "usage",
    "error",
)
# What of a choice is not joined as the rest of it is.
_OWN: Final = frozenset({"index", "finish_reason", "delta", "message"})
_TOOL_CALLS: Final = ("tool_calls",)
_CHUNK: Final = ".chunk"


def read(call: CallPayloads) -> View | None:
    """The View of a call to such an endpoint; None for others."""
    match = _PATH.search(call.path)
    if match is None:
        return None
    request = call.request.document
    answers = call.response.objects
    view = View(
        api="openai",
        operation=_OPERATIONS[match[1]],
        model_name=_last(answers, "model") or text_of(request.get("model")) or _deployment(call.path),
        payload_id=_last(answers, "id"),
        parameters=named(PARAMETERS, request),
        failed=any(bool(each.get("error")) for each in answers),
    )
    for answer in answers:
        if "usage" in answer:
            report_tokens(view, answer["usage"])
    if view.operation == "embeddings":
        _describe_embeddings(view, request, answers)
        return view
    choices = _Choices()
    for answer in answers:
        choices.add(answer)
    view.finish_reasons = choices.finish_reasons()
    if call.response.is_stream and answers:
        view.response_view = _put_together(answers, choices)
    return view


def _deployment(path: str) -> str:
    match = _DEPLOYMENT.search(path)
    return unquote(match[1]) if match else ""


def _last(answers: list[dict[str, Any]], name: str) -> str:
    return next((found for each in reversed(answers) if (found := name_of(each.get(name)))), "")


class _Choices:
    """The choices of an answer, put together from its events, by index."""

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}

    def add(self, answer: dict[str, Any]) -> None:
        for position, choice in enumerate(list_of(answer.get("choices"))):
            if isinstance(choice, dict):
                index = choice.get("index")
                number = index if isinstance(index, int) else position
                if number not in self._choices:
                    self._choices[number] = _Choice(number)
                self._choices[number].add(choice)

    def finish_reasons(self) -> list[str]:
        reasons = [self._choices[number].finish_reason for number in sorted(self._choices)]
        return [reason for reason in reasons if isinstance(reason, str)]

    def whole(self) -> list[dict[str, Any]]:
        return [self._choices[number].whole() for number in sorted(self._choices)]


class _Choice:
    """One choice, of a chat or of a text completion."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._rest = Joined()
        self._message = Joined()
        self._tool_calls = Row()
        self.finish_reason: Any = None

    def add(self, choice: dict[str, Any]) -> None:
        if choice.get("finish_reason") is not None:
            self.finish_reason = choice["finish_reason"]
        if not _OWN.issuperset(choice):
            self._rest.add(choice, _OWN)
        delta = choice.get("delta")
        if isinstance(delta, dict):
            self._message.add(delta, _TOOL_CALLS)
            if "tool_calls" in delta:
                self._add_tool_calls(list_of(delta["tool_calls"]))

    def _add_tool_calls(self, pieces: list[Any]) -> None:
        for position, piece in enumerate(pieces):
            if isinstance(piece, dict):
                self._tool_calls.item(piece.get("index"), position).add(piece)

    def whole(self) -> dict[str, Any]:
        message = self._message.whole()
        tool_calls = self._tool_calls.whole()
        if tool_calls:
            message["tool_calls"] = tool_calls
        rest = self._rest.whole()
        said = {"message": message} if message or "text" not in rest else {}
        return {"index": self._index, **said, **rest, "finish_reason": self.finish_reason}


def _put_together(answers: list[dict[str, Any]], choices: _Choices) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    names = set().union(*answers)
    for name in filter(names.__contains__, _REPEATED):
        found = next((each[name] for each in reversed(answers) if each.get(name) is not None), None)
        if found is not None:
            whole[name] = found
    if isinstance(whole.get("object"), str):
        whole["object"] = whole["object"].removesuffix(_CHUNK)
    whole["choices"] = choices.whole()
    return whole


def _describe_embeddings(view: View, request: dict[str, Any], answers: list[dict[str, Any]]) -> None:
    """How many were asked for, and how many of how many dimensions came."""
    asked = request.get("input")
    if isinstance(asked, list):
        view.inputs = [Tensor("input", "", shape_of(asked)[:1])]
    came = [each for answer in answers for each in list_of(answer.get("data")) if isinstance(each, dict)]
    if came:
        # In base64 they are texts, of which nothing is told here.
        view.outputs = [Tensor("embedding", "", (len(came), *shape_of(came[0].get("embedding"))))]
