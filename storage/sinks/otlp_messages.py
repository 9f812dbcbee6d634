"""OTLP messages: a conversation as `gen_ai.input.messages` and `gen_ai.output.messages`. Pure.

    [{"role": "user", "parts": [{"type": "text", "content": "…"}]}, …]

by the schemas of semantic-conventions-genai, as JSON in a text. Calls of OpenAI's chat completions, and of
all that speak like them; what is masked in the record is masked here. What is longer than it may be is left
out whole, as half a conversation would be read as all of it.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from infertap import v1
from infertap.export import conversation


def chat_messages(record: v1.Record, most_bytes: int) -> dict[str, str]:
    """The two attributes, of those that are known and fit."""
    read = conversation(record)
    if isinstance(read, str):
        return {}
    reason = record.model.finish_reasons[0] if record.model.finish_reasons else "stop"
    told = {
        "gen_ai.input.messages": [_message(each) for each in read.messages],
        "gen_ai.output.messages": [{**_message(read.answer), "finish_reason": reason}],
    }
    written = {name: json.dumps(value, ensure_ascii=False) for name, value in told.items()}
    return {
        name: text for name, text in written.items() if len(text.encode("utf-8", "replace")) <= most_bytes
    }


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    role = str(message.get("role", ""))
    if role == "tool":
        answered = {"type": "tool_call_response", "id": message.get("tool_call_id")}
        return {"role": role, "parts": [{**answered, "response": message.get("content")}]}
    return {
        "role": role,
        "parts": [*_content(message.get("content")), *_tool_calls(message.get("tool_calls"))],
    }


def _content(content: Any) -> Iterator[dict[str, Any]]:
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            yield {"type": "text", "content": part}
        elif isinstance(part, dict):
            text = part.get("text")
            yield {"type": "text", "content": text} if isinstance(text, str) else part


def _tool_calls(calls: Any) -> Iterator[dict[str, Any]]:
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            asked = {"name": function.get("name"), "arguments": _arguments(function.get("arguments"))}
            yield {"type": "tool_call", "id": call.get("id"), **asked}


def _arguments(text: Any) -> Any:
    """Models write them as JSON in a text; what is none stays as it is."""
    try:
        return json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return text
