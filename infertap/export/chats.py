"""Chats: what a record says of a conversation, in the form that fine-tuning takes. Pure.

    {"messages": [{"role": "user", "content": "..."}, ..., {"role": "assistant", "content": "..."}],
     "tools": [...]}

Only calls of OpenAI's chat completions, and of all that speak like them, are conversations; what is masked in
the record is masked here. What can't be learned from is skipped, for a reason that is one of this module's
texts.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from infertap import v1

NOT_A_CHAT: Final = "not a chat completion"
NOT_COMPLETED: Final = "the call did not complete"
NOT_WHOLE: Final = "a body is cut or withheld"
NOT_UNDERSTOOD: Final = "a body is not as chat completions have it"
NO_ANSWER: Final = "the answer has no message"
ANSWER_CUT: Final = "the answer was cut by a limit or a filter"
_BESIDE: Final = ("tools", "functions", "parallel_tool_calls", "tool_choice")
_OF_FINE_TUNING: Final = ("tools", "functions", "parallel_tool_calls")
_CUT: Final = ("length", "content_filter")
_OF_ANSWER: Final = ("content", "refusal", "tool_calls", "function_call")


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was said to the model, and what it answered."""

    messages: list[dict[str, Any]]
    answer: dict[str, Any]
    beside: dict[str, Any]


def to_fine_tuning(record: v1.Record) -> dict[str, Any] | str:
    """The line for fine-tuning, or the reason why there is none."""
    read = conversation(record)
    if isinstance(read, str):
        return read
    tools = {name: value for name, value in read.beside.items() if name in _OF_FINE_TUNING}
    return {"messages": [*read.messages, read.answer], **tools}


def conversation(record: v1.Record) -> Conversation | str:
    """The conversation that a record is of, or the reason why it is of none."""
    asked, answered = _document(record.request), _document(record.response)
    if (unfit := _unfit(record)) is not None or asked is None or answered is None:
        return unfit or NOT_WHOLE
    messages = asked.get("messages")
    if not isinstance(messages, list) or not messages or not all(_is_message(each) for each in messages):
        return NOT_UNDERSTOOD
    answer = _answer(answered)
    if isinstance(answer, str):
        return answer
    beside = {name: asked[name] for name in _BESIDE if asked.get(name)}
    return Conversation(messages, answer, beside)


def _unfit(record: v1.Record) -> str | None:
    """Why a record is of no use whatever its bodies say; None where it may be."""
    if (record.model.api, record.model.operation) != ("openai", "chat"):
        return NOT_A_CHAT
    if record.state != v1.COMPLETED:
        return NOT_COMPLETED
    return NOT_WHOLE if record.request.truncated or record.response.truncated else None


def _document(payload: v1.Payload) -> dict[str, Any] | None:
    """The body as JSON: as it is read, where it is not JSON itself; None where there is no object."""
    try:
        read = json.loads(payload.decoded_json or payload.data)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def _is_message(each: Any) -> bool:
    return isinstance(each, dict) and isinstance(each.get("role"), str)


def _answer(answered: dict[str, Any]) -> dict[str, Any] | str:
    """The first choice's message, or the reason why there is none."""
    choices = answered.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(message, dict):
        return NO_ANSWER
    if first.get("finish_reason") in _CUT:
        return ANSWER_CUT
    said = {name: message[name] for name in _OF_ANSWER if message.get(name)}
    return {"role": "assistant", **said} if said else NO_ANSWER
