"""What the events that the openai client saw say together: the oracle of the record's view."""

from typing import Any


def joined(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Text, calls of tools (name and arguments), finish reason and usage of a stream with one choice."""
    text = ""
    calls: dict[int, dict[str, str]] = {}
    finish_reason = usage = None
    for event in events:
        usage = event.get("usage") or usage
        for choice in event["choices"]:
            delta = choice.get("delta", {})
            text += choice.get("text") or delta.get("content") or ""
            finish_reason = choice.get("finish_reason") or finish_reason
            for piece in delta.get("tool_calls") or []:
                call = calls.setdefault(piece["index"], {"id": "", "name": "", "arguments": ""})
                call["id"] += piece.get("id") or ""
                call["name"] += piece["function"].get("name") or ""
                call["arguments"] += piece["function"].get("arguments") or ""
    tools = [calls[index] for index in sorted(calls)]
    return {"text": text, "tool_calls": tools, "finish_reason": finish_reason, "usage": usage}


def shown(view: dict[str, Any]) -> dict[str, Any]:
    """The same of a record's decoded answer."""
    [choice] = view["choices"]
    message = choice.get("message", {})
    tools = [
        {"id": call["id"], "name": call["function"]["name"], "arguments": call["function"]["arguments"]}
        for call in message.get("tool_calls", [])
    ]
    text = choice.get("text") or message.get("content") or ""
    reason = choice["finish_reason"]
    return {"text": text, "tool_calls": tools, "finish_reason": reason, "usage": view.get("usage")}
