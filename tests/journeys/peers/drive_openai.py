"""Call an OpenAI-compatible server by the openai client, and print what was sent and seen, as JSON lines.

python drive_openai.py BASE_URL KEY (mock | scripted)

Each line: {"call": name, "request_id": the answer's x-request-id, "sent": {...}, "seen": {...}}.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import openai

SYSTEM = {"role": "system", "content": "Answer in verse."}
USER = {"role": "user", "content": "Where did it happen? Zürich, 東京 or 🌊?"}
CHAT = {"messages": [SYSTEM, USER], "temperature": 0.25, "seed": 7, "max_tokens": 64, "stop": ["END"]}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        },
    },
}


def tell(call: str, request_id: str | None, sent: dict[str, Any], seen: dict[str, Any]) -> None:
    print(json.dumps({"call": call, "request_id": request_id, "sent": sent, "seen": seen}), flush=True)


def run(call: str, create: Callable[..., Any], sent: dict[str, Any]) -> None:
    """One call; a stream is read to its end."""
    try:
        raw = create(**sent)
    except openai.APIStatusError as error:
        seen = {"status": error.status_code, "body": error.body}
        tell(call, error.response.headers.get("x-request-id"), sent, seen)
        return
    answer = raw.parse()
    seen: dict[str, Any] = {"status": raw.status_code}
    if sent.get("stream"):
        seen["events"] = []
        try:
            for event in answer:
                seen["events"].append(event.model_dump(mode="json", exclude_unset=True))
        except openai.APIError as error:
            seen["error"] = {"message": error.message, "type": error.type}
    else:
        seen["body"] = answer.model_dump(mode="json", exclude_unset=True)
    tell(call, raw.headers.get("x-request-id"), sent, seen)


def call_mock(client: openai.OpenAI) -> None:
    """What the mock answers can do."""
    chat = client.chat.completions.with_raw_response.create
    run("chat", chat, CHAT | {"model": "teller"})
    run("chat-of-two", chat, CHAT | {"model": "teller", "n": 2})
    run("chat-streamed", chat, CHAT | STREAM | {"model": "teller"})
    run("chat-personal", chat, CHAT | STREAM | {"model": "confidant"})
    run("tool-call", chat, CHAT | {"model": "caller", "tools": [WEATHER], "tool_choice": "auto"})
    run("rate-limit", chat, CHAT | {"model": "busy"})
    run("no-such-model", chat, CHAT | {"model": "nobody"})
    text = client.completions.with_raw_response.create
    run("completion", text, {"model": "teller", "prompt": "Once", "max_tokens": 32})
    run("completion-streamed", text, {"model": "teller", "prompt": "Once", "max_tokens": 32, "stream": True})
    vectors = client.embeddings.with_raw_response.create
    run("embeddings", vectors, {"model": "vectors", "input": ["sea", "tree"], "encoding_format": "float"})
    responses = client.responses.with_raw_response.create
    run("responses", responses, {"model": "teller", "input": "Once"})
    # The mock has no stream for these: it answers 500, and says why in an event.
    run("no-stream", responses, {"model": "teller", "input": "Once", "stream": True})


def call_scripted(client: openai.OpenAI) -> None:
    """What only a script has: tool calls in pieces, and a stream that fails after its beginning."""
    chat = client.chat.completions.with_raw_response.create
    run("tool-calls-streamed", chat, CHAT | STREAM | {"model": "script", "tools": [WEATHER]})
    run("broken-stream", chat, CHAT | STREAM | {"model": "breaker"})


if __name__ == "__main__":
    base_url, key, part = sys.argv[1:]
    with openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=30) as opened:
        {"mock": call_mock, "scripted": call_scripted}[part](opened)
