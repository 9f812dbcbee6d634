"""A small server of what mock servers don't speak: Anthropic's events, streamed tool calls, Ollama's lines.

Its answers are written down below, as lists of pieces; each piece goes out as a chunk of its own.
"""

import http.server
import json
import threading
from typing import Any

ARGUMENTS = ['{"city": "Ber', 'lin", "da', 'ys": 3}']
VERSE = ["A maiden ", "there lived ", "whom you may know."]
AT = "2026-01-01T00:00:00Z"


def _event(document: dict[str, Any]) -> str:
    return f"data: {json.dumps(document)}\n\n"


def _chunk(**members: Any) -> str:
    return _event(
        {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "script"} | members
    )


def _tool_piece(index: int, **members: Any) -> str:
    choice = {"index": 0, "delta": {"tool_calls": [{"index": index} | members]}, "finish_reason": None}
    return _chunk(choices=[choice])


def tool_calls() -> list[str]:
    """Two calls of tools, their arguments in pieces and between each other."""
    first = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    second = {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    pieces = [_tool_piece(0, **first), _tool_piece(0, function={"arguments": ARGUMENTS[0]})]
    pieces += [_tool_piece(1, **second)]
    pieces += [_tool_piece(0, function={"arguments": part}) for part in ARGUMENTS[1:]]
    pieces += [_chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "tool_calls"}])]
    usage = {"prompt_tokens": 21, "completion_tokens": 9, "total_tokens": 30}
    return [*pieces, _chunk(choices=[], usage=usage), "data: [DONE]\n\n"]


def broken() -> list[str]:
    """A chat that begins, and then fails."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": "It was"}, "finish_reason": None}
    error = {"message": "The model ran out of memory.", "type": "server_error", "code": 500}
    return [_chunk(choices=[choice]), _event({"error": error})]


def _named(name: str, **members: Any) -> str:
    return f"event: {name}\n" + _event({"type": name} | members)


def message() -> list[str]:
    """A text and a call of a tool, as Anthropic streams them."""
    usage = {"input_tokens": 25, "output_tokens": 1}
    start = {"id": "msg_1", "type": "message", "role": "assistant", "model": "script", "content": []}
    start |= {"stop_reason": None, "stop_sequence": None, "usage": usage}
    text = {"type": "text", "text": ""}
    tool = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    pieces = [_named("message_start", message=start)]
    pieces += [_named("content_block_start", index=0, content_block=text), _named("ping")]
    pieces += [
        _named("content_block_delta", index=0, delta={"type": "text_delta", "text": part}) for part in VERSE
    ]
    pieces += [_named("content_block_stop", index=0)]
    pieces += [_named("content_block_start", index=1, content_block=tool)]
    pieces += [
        _named("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": part})
        for part in ARGUMENTS
    ]
    end = {"stop_reason": "tool_use", "stop_sequence": None}
    pieces += [_named("content_block_stop", index=1)]
    return [*pieces, _named("message_delta", delta=end, usage={"output_tokens": 15}), _named("message_stop")]


def ollama_lines() -> list[str]:
    """Ollama's chat: a line of JSON for each piece, the last with the counts."""
    said = [{"message": {"role": "assistant", "content": part}, "done": False} for part in VERSE]
    last = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    counts = {"prompt_eval_count": 11, "eval_count": 7, "total_duration": 5}
    lines = [*said, last | counts]
    return [json.dumps({"model": "script", "created_at": AT} | line) + "\n" for line in lines]


def ollama_whole() -> str:
    """The same, at once."""
    message = {"role": "assistant", "content": "".join(VERSE)}
    answer = {"model": "script", "created_at": AT, "message": message, "done": True, "done_reason": "stop"}
    return json.dumps(answer | {"prompt_eval_count": 11, "eval_count": 7, "total_duration": 5})


OVERLOADED = json.dumps({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})


class _Answering(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/v1/chat/completions":
            self._stream("text/event-stream", broken() if asked["model"] == "breaker" else tool_calls())
        elif self.path == "/v1/messages" and asked["model"] == "overloaded":
            self._whole(529, OVERLOADED)
        elif self.path == "/v1/messages":
            self._stream("text/event-stream", message())
        elif self.path == "/api/chat" and asked["stream"]:
            self._stream("application/x-ndjson", ollama_lines())
        elif self.path == "/api/chat":
            self._whole(200, ollama_whole())
        else:
            self._whole(404, "{}")

    def _whole(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def _stream(self, media_type: str, pieces: list[str]) -> None:
        self.send_response(200)
        self.send_header("content-type", media_type)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in [*pieces, ""]:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece.encode()), piece.encode()))

    def log_message(self, *_: object) -> None:
        """Nothing."""


class ScriptedServer:
    """Serves until closed, in a thread."""

    def __init__(self) -> None:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answering)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
