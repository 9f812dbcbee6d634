"""Gemini's generateContent and streamGenerateContent (also on Vertex AI), and its embeddings.

A stream is a list of answers, each with the next parts: as events, or as one JSON array.
"""

import re
from typing import Any, Final
from urllib.parse import unquote

from sidecar.recorder.payloads.tokens import report_tokens
from sidecar.recorder.payloads.view import (
    CallPayloads,
    Tensor,
    View,
    list_of,
    name_of,
    named,
    object_of,
    shape_of,
)

_PATH: Final = re.compile(
    r"/(?:models|tunedModels|endpoints)/([^/:]+):"
    r"(generateContent|streamGenerateContent|embedContent|batchEmbedContents|countTokens)$"
)
_PARAMETERS: Final = frozenset(
    {
        "temperature",
        "topP",
        "topK",
        "seed",
        "maxOutputTokens",
        "stopSequences",
        "candidateCount",
        "presencePenalty",
        "frequencyPenalty",
        "responseLogprobs",
        "logprobs",
        "responseMimeType",
        "responseModalities",
        "thinkingConfig",
    }
)


def read(call: CallPayloads) -> View | None:
    """The View of a call to such an endpoint; None for others."""
    match = _PATH.search(call.path)
    if match is None:
        return None
    config = call.request.document.get("generationConfig", call.request.document.get("generation_config"))
    answers = call.response.objects
    view = View(
        api="gemini",
        operation="embeddings" if "mbed" in match[2] else "generate_content",
        model_name=unquote(match[1]),
        parameters=named(_PARAMETERS, object_of(config)),
        failed=any(bool(each.get("error")) for each in answers),
    )
    candidates = _Candidates()
    for answer in answers:
        view.payload_id = name_of(answer.get("responseId")) or view.payload_id
        view.model_version = name_of(answer.get("modelVersion")) or view.model_version
        report_tokens(view, answer.get("usageMetadata"))
        candidates.add(answer)
    view.finish_reasons = candidates.finish_reasons()
    view.outputs = _embeddings(answers)
    if match[2] == "streamGenerateContent" and answers:
        view.response_view = _without(answers[-1], "candidates") | {"candidates": candidates.whole()}
    return view


def _without(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != name}


def _embeddings(answers: list[dict[str, Any]]) -> list[Tensor]:
    came = [object_of(each) for answer in answers for each in list_of(answer.get("embeddings"))]
    came += [answer["embedding"] for answer in answers if isinstance(answer.get("embedding"), dict)]
    return [Tensor("embedding", "", (len(came), *shape_of(came[0].get("values"))))] if came else []


class _Candidates:
    """The candidates of an answer, by index; texts of one kind that follow each other are one part."""

    def __init__(self) -> None:
        self._candidates: dict[int, dict[str, Any]] = {}
        self._parts: dict[int, list[dict[str, Any]]] = {}
        # The text of the last part, in pieces, and what else the part says.
        self._texts: dict[int, list[str]] = {}
        self._kinds: dict[int, dict[str, Any]] = {}

    def add(self, answer: dict[str, Any]) -> None:
        for position, candidate in enumerate(list_of(answer.get("candidates"))):
            if isinstance(candidate, dict):
                index = candidate.get("index")
                number = index if isinstance(index, int) else position
                self._candidates.setdefault(number, {}).update(_without(candidate, "content"))
                content = object_of(candidate.get("content"))
                if isinstance(content.get("role"), str):
                    self._candidates[number]["role"] = content["role"]
                for part in list_of(content.get("parts")):
                    self._add_part(number, object_of(part))

    def _add_part(self, number: int, part: dict[str, Any]) -> None:
        kind = _without(part, "text")
        if isinstance(part.get("text"), str):
            if number in self._texts and self._kinds[number] != kind:
                self._close_text(number)
            self._texts.setdefault(number, []).append(part["text"])
            self._kinds[number] = kind
        else:
            self._close_text(number)
            self._parts.setdefault(number, []).append(part)

    def _close_text(self, number: int) -> None:
        texts = self._texts.pop(number, None)
        if texts is not None:
            part = {"text": "".join(texts)} | self._kinds.pop(number)
            self._parts.setdefault(number, []).append(part)

    def finish_reasons(self) -> list[str]:
        reasons = [self._candidates[number].get("finishReason") for number in sorted(self._candidates)]
        return [reason for reason in reasons if isinstance(reason, str)]

    def whole(self) -> list[dict[str, Any]]:
        listed = []
        for number in sorted(self._candidates):
            self._close_text(number)
            candidate = dict(self._candidates[number])
            content = {"role": candidate.pop("role", "model"), "parts": self._parts.get(number, [])}
            listed.append({"content": content} | candidate)
        return listed
