"""Call a server of Anthropic's messages by the anthropic client; print what was sent and seen, as JSON lines.

python drive_anthropic.py BASE_URL KEY (mock | scripted)

Each line: {"call": name, "request_id": the answer's x-request-id, "sent": {...}, "seen": {...}}.
"""

import json
import sys
from typing import Any

import anthropic

ASK = {
    "max_tokens": 50,
    "system": "Answer in verse.",
    "stop_sequences": ["END"],
    "messages": [{"role": "user", "content": "Who lived there?"}],
}


def tell(call: str, request_id: str | None, sent: dict[str, Any], seen: dict[str, Any]) -> None:
    print(json.dumps({"call": call, "request_id": request_id, "sent": sent, "seen": seen}), flush=True)


def whole(client: anthropic.Anthropic, call: str, **sent: Any) -> None:
    """An answer that comes at once."""
    try:
        raw = client.messages.with_raw_response.create(**sent)
    except anthropic.APIStatusError as error:
        seen = {"status": error.status_code, "body": error.body}
        tell(call, error.response.headers.get("x-request-id"), sent, seen)
        return
    body = raw.parse().model_dump(mode="json", exclude_unset=True)
    tell(call, raw.headers.get("x-request-id"), sent, {"status": raw.status_code, "body": body})


def streamed(client: anthropic.Anthropic, call: str, **sent: Any) -> None:
    """Events, which the client itself puts together."""
    with client.messages.stream(**sent) as stream:
        events = sum(1 for _ in stream)
        body = stream.get_final_message().model_dump(mode="json", exclude_unset=True)
        headers = stream.response.headers
    seen = {"status": 200, "body": body, "events": events}
    tell(call, headers.get("x-request-id"), sent | {"stream": True}, seen)


if __name__ == "__main__":
    base_url, key, part = sys.argv[1:]
    with anthropic.Anthropic(base_url=base_url, api_key=key, max_retries=0, timeout=30) as opened:
        if part == "mock":
            whole(opened, "message", **ASK, model="claude")
        else:
            streamed(opened, "message-streamed", **ASK, model="script")
            whole(opened, "overloaded", **ASK, model="overloaded")
