"""Canary calls: what the search for canaries sends and is answered, protocol by protocol.

A canary is a value that redaction has to find, with a word in it that occurs nowhere else, and that says
where it was planted.
"""

import base64
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from google.rpc import error_details_pb2, status_pb2

from infertap import oip

WORD = "kanarie"


def mail(place: str) -> str:
    return f"{WORD}.{place}@example.org"


def pieces(text: str) -> list[str]:
    """So short that none holds the word."""
    return [text[start : start + 4] for start in range(0, len(text), 4)]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of HTTP, and the model's answer to it."""

    path: str
    content_type: str
    body: bytes
    answer_type: str
    answer: bytes
    headers: tuple[tuple[str, str], ...] = ()
    answer_headers: tuple[tuple[str, str], ...] = ()


# -- streams: what each protocol says of one piece of a text

JSON = "application/json"
SSE = "text/event-stream"
LINES = "application/x-ndjson"


def _choice(index: int = 0, **members: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, **members}]}


def _token(piece: str) -> dict[str, Any]:
    said = {"token": piece, "bytes": list(piece.encode()), "logprob": -0.1}
    return _choice(delta={"content": piece}, logprobs={"content": [{**said, "top_logprobs": [said]}]})


def _anthropic(delta: dict[str, str]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": delta}


def _responses(kind: str, piece: str) -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "output_index": 0, "content_index": 0, "delta": piece}


# Where: path, type of the stream, and a piece of it.
STREAMS: dict[str, tuple[str, str, Callable[[str], Any]]] = {
    "textcompletion": ("/v1/completions", SSE, lambda piece: _choice(text=piece)),
    "refusal": ("/v1/chat/completions", SSE, lambda piece: _choice(delta={"refusal": piece})),
    "reasoning": ("/v1/chat/completions", SSE, lambda piece: _choice(delta={"reasoning_content": piece})),
    "secondchoice": ("/v1/chat/completions", SSE, lambda piece: _choice(1, delta={"content": piece})),
    "logprobs": ("/v1/chat/completions", SSE, _token),
    "responses": ("/v1/responses", SSE, lambda piece: _responses("output_text", piece)),
    "responsesarguments": ("/v1/responses", SSE, lambda piece: _responses("function_call_arguments", piece)),
    "anthropic": ("/v1/messages", SSE, lambda piece: _anthropic({"type": "text_delta", "text": piece})),
    "anthropictool": (
        "/v1/messages",
        SSE,
        lambda piece: _anthropic({"type": "input_json_delta", "partial_json": piece}),
    ),
    "anthropicthinking": (
        "/v1/messages",
        SSE,
        lambda piece: _anthropic({"type": "thinking_delta", "thinking": piece}),
    ),
    "ollamachat": ("/api/chat", LINES, lambda piece: {"message": {"role": "assistant", "content": piece}}),
    "ollama": ("/api/generate", LINES, lambda piece: {"response": piece, "done": False}),
    "gemini": (
        "/v1beta/models/g:streamGenerateContent",
        SSE,
        lambda piece: {"candidates": [{"content": {"parts": [{"text": piece}]}, "index": 0}]},
    ),
    "geminiarray": (
        "/v1beta/models/g:streamGenerateContent",
        JSON,
        lambda piece: {"candidates": [{"content": {"parts": [{"text": piece}]}, "index": 0}]},
    ),
    "cohere": (
        "/v2/chat",
        SSE,
        lambda piece: {"type": "content-delta", "delta": {"message": {"content": {"text": piece}}}},
    ),
    "tgi": ("/generate_stream", SSE, lambda piece: {"token": {"id": 7, "text": piece, "special": False}}),
    "triton": ("/v2/models/m/generate_stream", SSE, lambda piece: {"text_output": piece}),
    "plain": ("/tokens", SSE, lambda piece: piece),
}


def stream(kind: str, said: Sequence[Any]) -> bytes:
    """The body of a stream of that type."""
    if kind == JSON:
        return json.dumps(said).encode()
    texts = [each if isinstance(each, str) else json.dumps(each) for each in said]
    if kind == LINES:
        return "".join(f"{text}\n" for text in texts).encode()
    return "".join(f"data: {text}\n\n" for text in texts).encode()


def streamed(name: str, text: str) -> bytes:
    """`text` as the stream of that name says it."""
    _, kind, piece = STREAMS[name]
    return stream(kind, [piece(each) for each in pieces(text)])


def _streams() -> list[Call]:
    asked = json.dumps({"model": "m", "stream": True, "prompt": "x"}).encode()
    return [
        Call(f"{path}?{name}", JSON, asked, kind, streamed(name, f"to {mail(name)} now"))
        for name, (path, kind, _) in STREAMS.items()
    ]


# -- whole documents


def _v2(text: str) -> dict[str, Any]:
    return {"name": "x", "shape": [1], "datatype": "BYTES", "data": [text]}


def _binary(place: str) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    """A body of the Open Inference Protocol's binary extension, and its header."""
    text = mail(place).encode()
    data = struct.pack("<I", len(text)) + text
    tensor = {"name": "x", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor], "outputs": [tensor]}).encode()
    return head + data, (("Inference-Header-Content-Length", str(len(head))),)


def frame(message: bytes, flag: int = 0) -> bytes:
    """A message as gRPC frames it."""
    return bytes((flag,)) + len(message).to_bytes(4, "big") + message


def _web(place: str) -> bytes:
    """Of gRPC-Web: a message, and trailers."""
    answer = oip.ModelInferResponse(model_name="m", id=mail(f"{place}id"))
    answer.outputs.add(name="y", datatype="BYTES", shape=[1]).contents.bytes_contents.append(
        mail(place).encode()
    )
    status = status_pb2.Status(code=3)
    status.details.add().Pack(error_details_pb2.DebugInfo(detail=mail(f"{place}details")))
    trailers = f"grpc-status: 3\r\ngrpc-message: no {mail(f'{place}message')}\r\n".encode()
    trailers += b"grpc-status-details-bin: " + base64.b64encode(status.SerializeToString()) + b"\r\n"
    return frame(answer.SerializeToString()) + frame(trailers, 0x80)


def _documents() -> list[Call]:
    def both(name: str, path: str, document: Callable[[str], Any], kind: str = JSON) -> Call:
        return Call(
            f"{path}?{name}",
            kind,
            json.dumps(document(mail(f"{name}asked"))).encode(),
            kind,
            json.dumps(document(mail(f"{name}answered"))).encode(),
        )

    asked, asked_head = _binary("binaryasked")
    answered, answered_head = _binary("binaryanswered")
    return [
        both("v1", "/v1/models/m:predict", lambda text: {"instances": [[text]], "predictions": [text]}),
        both("explain", "/v1/models/m:explain", lambda text: {"instances": [{"a": text}]}),
        both("v2", "/v2/models/m/infer", lambda text: {"inputs": [_v2(text)], "outputs": [_v2(text)]}),
        both("torchserve", "/predictions/m", lambda text: {"data": text}),
        both(
            "mlflow",
            "/invocations",
            lambda text: {"dataframe_split": {"columns": ["a"], "data": [[text]]}, "predictions": [text]},
        ),
        both("bento", "/classify", lambda text: [{"note": text}]),
        both("deep", "/deep", lambda text: json.dumps({"a": json.dumps([text])})),
        Call(
            "/v2/models/m/infer?binary",
            "application/octet-stream",
            asked,
            "application/octet-stream",
            answered,
            asked_head,
            answered_head,
        ),
        Call(
            "/invocations?csv",
            "text/csv",
            f"name,note\nx,{mail('csvasked')}\n".encode(),
            "text/csv",
            f"1,{mail('csvanswered')}\n".encode(),
        ),
        Call(
            "/invocations?lines",
            "application/jsonlines",
            stream(LINES, [{"a": mail("jsonlines")}, {"a": 1}]),
            "application/jsonlines",
            stream(LINES, [{"b": mail("jsonlinesanswered")}]),
        ),
        Call("/page", "text/plain", b"x", "text/html", f"<h1>Error</h1><p>{mail('page')}</p>".encode()),
        Call("/xml", "application/xml", f"<a b='{mail('xml')}'/>".encode(), JSON, b"{}"),
        Call(
            "/inference.GRPCInferenceService/ModelInfer?web", *_web_call("application/grpc-web+proto", bytes)
        ),
        Call(
            "/inference.GRPCInferenceService/ModelInfer?webtext",
            *_web_call("application/grpc-web-text+proto", base64.b64encode),
        ),
    ]


def _web_call(kind: str, write: Callable[[bytes], bytes]) -> tuple[str, bytes, str, bytes]:
    request = oip.ModelInferRequest(model_name="m", id=mail("webasked"))
    return kind, write(frame(request.SerializeToString())), kind, write(_web("web"))


CALLS = (*_streams(), *_documents())
ANSWERS = {call.path: call for call in CALLS}


def answer_of(call: Call) -> bytes:
    """The model's answer, head and body."""
    fields = (("Content-Type", call.answer_type), ("Content-Length", len(call.answer)), *call.answer_headers)
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + call.answer
