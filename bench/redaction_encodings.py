"""Redaction encodings: the ways in which a text reaches a model or comes from it, and what a record shows.

Each makes a call that holds a text; `shown` undoes its encoding on what a record has of it, so that a value
which was left in any form is seen. Pure.
"""

import base64
import gzip
import html
import json
import quopri
import re
import urllib.parse
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import brotli
import zstandard

from infertap import oip, v1
from sidecar.exchange import EndedBy, Exchange, Protocol, Reason

# Shorter than any value: each is cut in several places.
_PIECE: Final = 5
_BOUNDARY: Final = "part-of-many"


@dataclass(frozen=True, slots=True)
class Encoding:
    """One way to carry a text."""

    name: str
    make: Callable[[str], Exchange]
    # From what the record holds to plain text again.
    undo: Callable[[str], str] = str

    def shown(self, record: v1.Record) -> str:
        """All that a record tells of the answer: as it stands there, and read."""
        held = record.response.data.decode("utf-8", "replace")
        texts = [held, record.response.decoded_json, *_strings(held), *_strings(record.response.decoded_json)]
        return "\n".join([*texts, *(self.undo(text) for text in texts)])


def _strings(text: str) -> list[str]:
    """The strings of JSON, of each line or event of it, all that stand at the same place joined."""
    documents = []
    for line in (text, *text.splitlines()):
        try:
            documents.append(json.loads(line.removeprefix("data:")))
        except ValueError:
            continue
    joined: dict[tuple[Any, ...], str] = {}
    for document in documents:
        for place, said in _leaves(document, ()):
            joined[place] = joined.get(place, "") + said
    everything = "".join(said for document in documents for _, said in _leaves(document, ()))
    return [*joined.values(), everything]


def _leaves(node: Any, place: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
    if isinstance(node, str):
        yield place, node
    elif isinstance(node, dict):
        for key, member in node.items():
            yield from _leaves(member, (*place, key))
    elif isinstance(node, list):
        for member in node:
            yield from _leaves(member, (*place, 0))


# -- calls


def call_of(content_type: str, body: bytes, *, encoding: str = "", pieces: int = 0) -> Exchange:
    """A call whose answer is `body`."""
    call = Exchange(1, 0, Protocol.HTTP1, 1000, 1_700_000_000_000_000_000)
    call.ended, call.ended_by, call.reason = 2000, EndedBy.MODEL, Reason.RATE
    call.method, call.target, call.status = b"POST", b"/v1/chat/completions", 200
    call.request_head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: model\r\n\r\n"
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n"
    call.response_head = (
        f"{head}content-encoding: {encoding}\r\n\r\n".encode() if encoding else f"{head}\r\n".encode()
    )
    _fill(call, [body] if not pieces else list(_cut(body, pieces)))
    return call


def _fill(call: Exchange, pieces: list[bytes]) -> None:
    body = call.response
    body.captured_pieces, body.piece_count = pieces, len(pieces)
    body.captured = body.size = sum(map(len, pieces))


def _cut(body: Any, size: int) -> Iterator[Any]:
    return (body[start : start + size] for start in range(0, len(body), size))


def _json_of(text: str) -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}}]}, ensure_ascii=False).encode()


def _json(text: str) -> Exchange:
    return call_of("application/json", _json_of(text))


def _in_json(encode: Callable[[str], str]) -> Callable[[str], Exchange]:
    """A string of JSON that holds the encoded text."""
    return lambda text: _json(encode(text))


def _coded(encoding: str, compress: Callable[[bytes], bytes]) -> Callable[[str], Exchange]:
    return lambda text: call_of("application/json", compress(_json_of(text)), encoding=encoding)


def _escaped(text: str) -> Exchange:
    units = text.encode("utf-16-be")
    escapes = "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
    return call_of("application/json", f'{{"text":"{escapes}"}}'.encode())


def _nested(text: str) -> Exchange:
    inner = json.dumps({"arguments": json.dumps({"note": text})})
    return call_of("application/json", json.dumps({"content": inner}).encode())


def _form(text: str) -> Exchange:
    body = urllib.parse.urlencode({"a": "1", "note": text}).encode()
    return call_of("application/x-www-form-urlencoded", body)


def _multipart(text: str) -> Exchange:
    part = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="note"\r\n\r\n{text}\r\n--{_BOUNDARY}--\r\n'
    )
    return call_of(f"multipart/form-data; boundary={_BOUNDARY}", part.encode())


def _deltas(text: str) -> Exchange:
    events = [
        f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': piece}}]})}\n\n"
        for piece in _cut(text, _PIECE)
    ]
    return call_of("text/event-stream", "".join([*events, "data: [DONE]\n\n"]).encode())


def _arguments(text: str) -> Exchange:
    def event(piece: str) -> str:
        call = {"index": 0, "function": {"arguments": piece}}
        return f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'tool_calls': [call]}}]})}\n\n"

    body = "".join(map(event, _cut(json.dumps({"note": text}), _PIECE)))
    return call_of("text/event-stream", body.encode())


def _lines(text: str) -> Exchange:
    body = "".join(json.dumps({"response": piece, "done": False}) + "\n" for piece in _cut(text, _PIECE))
    return call_of("application/x-ndjson", body.encode())


def _frames(text: str) -> Exchange:
    call = call_of("application/json", b"")
    call.protocol = Protocol.HTTP2
    call.request_head, call.response_head = b"", b""
    call.response_headers = [(b"content-type", b"application/json")]
    _fill(call, list(_cut(_json_of(text), _PIECE)))
    return call


def _websocket(text: str) -> Exchange:
    """A message for each piece, in frames of a server (RFC 6455, section 5.2)."""
    call = call_of("application/json", b"")
    call.protocol, call.status = Protocol.WEBSOCKET, 101
    call.response_head = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n"
    messages = [json.dumps({"delta": piece}).encode() for piece in _cut(text, _PIECE)]
    _fill(call, [bytes((0x81, len(message))) + message for message in messages])
    return call


def _grpc(path: bytes, messages: list[bytes]) -> Exchange:
    call = call_of("application/grpc", b"")
    call.protocol, call.target, call.grpc_status = Protocol.GRPC, path, 0
    call.request_head, call.response_head = b"", b""
    call.request_headers = call.response_headers = [(b"content-type", b"application/grpc")]
    _fill(call, [b"\0" + len(message).to_bytes(4, "big") + message for message in messages])
    return call


def _inferred(text: str) -> bytes:
    answer = oip.ModelInferResponse(model_name="m")
    tensor = answer.outputs.add(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(text.encode())
    return bytes(answer.SerializeToString())


def _grpc_one(text: str) -> Exchange:
    return _grpc(b"/inference.GRPCInferenceService/ModelInfer", [_inferred(text)])


def _grpc_stream(text: str) -> Exchange:
    messages = [b"\x12" + bytes(_varint(len(part))) + part for part in map(_inferred, _cut(text, _PIECE))]
    return _grpc(b"/inference.GRPCInferenceService/ModelStreamInfer", messages)


def _varint(number: int) -> Iterator[int]:
    while number > 0x7F:
        yield number & 0x7F | 0x80
        number >>= 7
    yield number


def _no_schema(text: str) -> Exchange:
    said = text.encode()
    return _grpc(b"/own.Service/Call", [b"\x08\x2a\x12" + bytes(_varint(len(said))) + said])


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def _entities(text: str) -> str:
    return "".join(f"&#{ord(each)};" for each in text)


def _from_base64(text: str) -> str:
    """Whatever in `text` reads as base64, in either alphabet."""
    found = re.findall(r"[0-9A-Za-z+/_-]{8,}", text)
    raw = [base64.b64decode(run.replace("-", "+").replace("_", "/")[: len(run) // 4 * 4]) for run in found]
    return "\n".join(each.decode("utf-8", "replace") for each in raw)


def _from_hex(text: str) -> str:
    found = re.findall(r"(?:[0-9a-f]{2}){4,}", text)
    return "\n".join(bytes.fromhex(run).decode("utf-8", "replace") for run in found)


def _from_escapes(text: str) -> str:
    return re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), text)


def _from_newlines(text: str) -> str:
    return re.sub(r"\\+n", "\n", text)


def _from_quoted(text: str) -> str:
    return quopri.decodestring(text.encode()).decode("utf-8", "replace")


_unquoted: Final = urllib.parse.unquote_plus

ENCODINGS: Final = (
    Encoding("plain", lambda text: call_of("text/plain", text.encode())),
    Encoding("json", _json),
    Encoding("json_escapes", _escaped, _from_escapes),
    Encoding("json_in_json", _nested, _from_newlines),
    Encoding("url", _in_json(_percent), _unquoted),
    Encoding("form", _form, _unquoted),
    Encoding("html_entities", _in_json(_entities), html.unescape),
    Encoding(
        "quoted_printable", _in_json(lambda text: quopri.encodestring(text.encode()).decode()), _from_quoted
    ),
    Encoding("base64", _in_json(lambda text: base64.b64encode(text.encode()).decode()), _from_base64),
    Encoding(
        "base64_url", _in_json(lambda text: base64.urlsafe_b64encode(text.encode()).decode()), _from_base64
    ),
    Encoding("hex", _in_json(lambda text: text.encode().hex()), _from_hex),
    Encoding("utf_16", lambda text: call_of("text/plain; charset=utf-16", text.encode("utf-16"))),
    Encoding("gzip", _coded("gzip", gzip.compress)),
    Encoding("deflate", _coded("deflate", zlib.compress)),
    Encoding("br", _coded("br", brotli.compress)),
    Encoding("zstd", _coded("zstd", zstandard.ZstdCompressor().compress)),
    Encoding("multipart", _multipart),
    Encoding("chunks", lambda text: call_of("application/json", _json_of(text), pieces=_PIECE)),
    Encoding("http2_frames", _frames),
    Encoding("sse_deltas", _deltas),
    Encoding("sse_tool_arguments", _arguments, _from_newlines),
    Encoding("json_lines", _lines),
    Encoding("websocket_messages", _websocket),
    Encoding("grpc_message", _grpc_one),
    Encoding("grpc_stream", _grpc_stream),
    Encoding("grpc_no_schema", _no_schema),
)
