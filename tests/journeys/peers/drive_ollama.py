"""Call a server of Ollama's interface by the ollama client, and print what was sent and seen, as JSON lines.

python drive_ollama.py BASE_URL

Each line: {"call": name, "sent": {...}, "seen": {...}}; each call carries its name as x-request-id.
"""

import json
import sys
from typing import Any

import ollama

ASK = {
    "model": "script",
    "messages": [{"role": "user", "content": "Who lived there?"}],
    "options": {"temperature": 0.5, "seed": 7},
}


def tell(call: str, sent: dict[str, Any], seen: list[dict[str, Any]]) -> None:
    print(json.dumps({"call": call, "sent": sent, "seen": seen}), flush=True)


def plain(answer: Any) -> dict[str, Any]:
    return dict(answer.model_dump(mode="json", exclude_none=True))


def main(base_url: str) -> None:
    for call, stream in (("ollama-chat", False), ("ollama-chat-streamed", True)):
        client = ollama.Client(host=base_url, headers={"x-request-id": call}, timeout=30)
        answer = client.chat(**ASK, stream=stream)
        seen = [plain(piece) for piece in answer] if stream else [plain(answer)]
        tell(call, ASK | {"stream": stream}, seen)


if __name__ == "__main__":
    main(sys.argv[1])
