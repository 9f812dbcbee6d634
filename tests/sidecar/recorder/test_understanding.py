"""What readers put together is redacted again; what calls tell stands in their records."""

import json
import struct
from typing import Any

import pytest

from infertap import v1
from sidecar import config
from sidecar.exchange import Body, EndedBy, Exchange, Protocol, Reason
from sidecar.recorder.conversion import FAILED, Conversion

WALL = 1_767_225_600_000_000_000
PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBB", 13, b"IHDR", 640, 480, 8, 2) + bytes(200)


def body(data: bytes) -> Body:
    return Body([data] if data else [], len(data), len(data), [(5, len(data))], 1)


def converted(environ: dict[str, str], key: bytes | None = b"key", **call: Any) -> v1.Record:
    values: dict[str, Any] = {
        "method": b"POST",
        "target": b"/v1/responses",
        "status": 200,
        "ended": 10,
        "ended_by": EndedBy.MODEL,
        "reason": Reason.RATE,
        "request": body(b""),
        "response": body(b""),
    }
    exchange = Exchange(1, 0, Protocol.HTTP2, 0, WALL)
    for name, value in (values | call).items():
        setattr(exchange, name, value)
    result = Conversion(config.read(environ), key, b"r" * 16).convert(0, exchange, WALL)
    assert result is not None
    record = v1.Record.FromString(result.record)
    assert FAILED not in record.logging_error_codes
    return record


def answered(environ: dict[str, str], content_type: bytes, data: bytes, **call: Any) -> v1.Record:
    return converted(environ, response_headers=[(b"content-type", content_type)], response=body(data), **call)


def events(*documents: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in documents)


def piece(output: int, text: str) -> dict[str, Any]:
    return {
        "type": "response.output_text.delta",
        "output_index": output,
        "content_index": 0,
        "delta": text,
    }


def test_pieces_of_two_texts_that_come_in_turns() -> None:
    """Texts that come in turns are looked at one by one."""
    halves = ("mail ada", "@exam", "ple.org now")
    mixed = [piece(index, text) for text in halves for index in (0, 1)]
    record = answered({}, b"text/event-stream", events(*mixed))
    shown = json.loads(record.response.decoded_json)
    assert [item["content"][0]["text"] for item in shown["output"]] == ["mail <email> now"] * 2
    assert b"@exam" not in record.response.data
    assert b"ada" not in record.response.data


@pytest.mark.parametrize("content_type", [b"text/event-stream", b"application/json"])
def test_pieces_that_only_their_reader_joins(content_type: bytes) -> None:
    """A value that shows only in the answer put together is masked there, and its parts are not kept."""
    pieces = [
        {"candidates": [{"content": {"parts": parts}}]}
        for parts in ([{"text": "so", "thought": True}, {"text": "mail ada@exam"}], [{"text": "ple.org now"}])
    ]
    data = events(*pieces) if content_type.startswith(b"text") else json.dumps(pieces).encode()
    record = answered({}, content_type, data, target=b"/v1beta/models/g:streamGenerateContent")
    [candidate] = json.loads(record.response.decoded_json)["candidates"]
    assert candidate["content"]["parts"][1] == {"text": "mail <email> now"}
    assert record.response.data == b""
    assert "RESPONSE_BODY_VIEW_ONLY" in record.logging_error_codes
    assert [(each.field, each.count) for each in record.response.redactions] == [("body", 1)]


def test_what_is_masked_stays_so() -> None:
    """Redacting again finds nothing in what is redacted, be it masked, hashed or of a named field."""
    asked = {
        "INFERTAP_REDACT_ACTIONS": "email=hash",
        "INFERTAP_REDACT_FIELDS": "$.choices[*].message.name=hash,$.user=mask",
    }
    chunk = {"choices": [{"index": 0, "delta": {"content": "mail ada@example.org"}}]}
    first = {"choices": [{"index": 0, "delta": {"role": "assistant", "password": "abc"}}]}
    streamed = events(first, chunk, chunk)
    record = answered(asked, b"text/event-stream", streamed, target=b"/v1/chat/completions")
    shown = json.loads(record.response.decoded_json)["choices"][0]["message"]
    assert shown["content"].count("hmac:") == 2
    assert record.response.data
    assert "RESPONSE_BODY_VIEW_ONLY" not in record.logging_error_codes


def test_error_of_a_page_is_redacted() -> None:
    """Tags hide nothing: the text of a page is looked at as one reads it."""
    page = b"<html><body><p>Ask ada<b>@</b>example.org</p></body></html>"
    record = answered({}, b"text/html", page, status=502)
    assert record.state == v1.FAILED
    assert "example.org" not in record.error.message
    assert record.error.message.startswith("Ask")


def test_error_of_grpc() -> None:
    """Details stand in the trailers, in base64; they are redacted as all else is."""
    from google.protobuf.any_pb2 import Any as AnyMessage
    from google.rpc import error_details_pb2, status_pb2

    packed = AnyMessage()
    packed.Pack(error_details_pb2.DebugInfo(stack_entries=["f.py:1"], detail="mail ada@example.org"))
    import base64

    status = status_pb2.Status(code=13, details=[packed])
    record = converted(
        {},
        protocol=Protocol.GRPC,
        target=b"/a.B/C",
        grpc_status=13,
        grpc_message=b"boom",
        response_trailers=[(b"grpc-status-details-bin", base64.b64encode(status.SerializeToString()))],
    )
    assert (record.error.type, record.error.stack_trace) == ("INTERNAL", "f.py:1")
    assert record.error.message == "boom\nmail <email>"


@pytest.mark.parametrize(
    ("answer", "headers", "path", "environ", "version"),
    [
        ({"model_version": "1"}, [(b"X-Model-Version", b"2")], "/versions/3", {"MODEL": "4"}, "1"),
        ({}, [(b"X-Model-Version", b"2")], "/versions/3", {"MODEL": "4"}, "2"),
        ({}, [], "/versions/3", {"MODEL": "4", "SOURCE": "5"}, "3"),
        ({}, [], "", {"MODEL": "4", "SOURCE": "5"}, "4"),
        ({}, [], "", {"SOURCE": "5"}, "5"),
        ({}, [(b"x-model-version", b"ada@example.org")], "", {}, "<email>"),
        ({}, [], "", {}, ""),
    ],
)
def test_version(
    answer: dict[str, Any],
    headers: list[tuple[bytes, bytes]],
    path: str,
    environ: dict[str, str],
    version: str,
) -> None:
    """By the payload, else by headers, path, setting, and the pod's label."""
    record = converted(
        {f"INFERTAP_{name}_VERSION": value for name, value in environ.items()},
        target=f"/v2/models/iris{path}/infer".encode(),
        response_headers=[(b"content-type", b"application/json"), *headers],
        response=body(json.dumps(answer).encode()),
    )
    assert (record.model.name, record.model.version) == ("iris", version)


@pytest.mark.parametrize("action", ["keep", "digest", "drop"])
def test_media(action: str) -> None:
    """What an image is stands in the record, whether the image does or not."""
    record = answered({"INFERTAP_OPAQUE_BODIES": action}, b"image/png", PNG)
    media = record.response.media
    assert (media.format, media.width, media.height, media.channels) == ("png", 640, 480, 3)
    assert bool(record.response.data) is (action == "keep")


def test_tokens_and_interface() -> None:
    """Whose interface, what of it, and what was counted."""
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    answer = {"id": "c", "model": "gpt-4o", "choices": [], "usage": usage}
    record = answered({}, b"application/json", json.dumps(answer).encode(), target=b"/v1/chat/completions")
    model = record.model
    assert (model.api, model.operation, model.input_tokens, model.output_tokens) == ("openai", "chat", 9, 12)
    assert (model.cached_input_tokens, model.reasoning_tokens) == (4, 0)
    assert model.HasField("reasoning_tokens")
    assert not record.HasField("error")


def test_broken_payload() -> None:
    """It is kept as it is, with the reason."""
    record = answered({}, b"application/json", b"{broken", target=b"/v1/chat/completions")
    assert "PAYLOAD_NOT_UNDERSTOOD" in record.logging_error_codes
    assert record.response.data == b"{broken"


SPLIT = [
    text[place : place + 3]
    for text in ("mail ada.lovelace@example.org card 4111 1111 1111 1111 end",)
    for place in range(0, len(text), 3)
]


def streams() -> dict[str, list[dict[str, Any]]]:
    """The same text in the pieces of each interface."""
    block = {"type": "content_block_delta", "index": 0}
    item = {"output_index": 0, "content_index": 0}
    return {
        "/v1/chat/completions": [
            {"choices": [{"index": 0, "delta": {name: text}}]}
            for name in ("content", "refusal", "reasoning_content")
            for text in SPLIT
        ],
        "/v1/completions": [{"choices": [{"index": 0, "text": text}]} for text in SPLIT],
        "/v1/responses": [item | {"type": "response.output_text.delta", "delta": text} for text in SPLIT],
        "/v1/messages": [
            *({**block, "delta": {"type": "thinking_delta", "thinking": text}} for text in SPLIT),
            *({**block, "delta": {"type": "input_json_delta", "partial_json": text}} for text in SPLIT),
        ],
        "/v1beta/models/g:streamGenerateContent": [
            {"candidates": [{"content": {"parts": [{"text": text}]}}]} for text in SPLIT
        ],
        "/api/chat": [{"message": {"content": text}} for text in SPLIT],
        "/api/generate": [{"response": text} for text in SPLIT],
        "/generate_stream": [
            {"index": number, "token": {"id": number, "text": text}} for number, text in enumerate(SPLIT)
        ],
        "/v2/models/m/generate_stream": [{"text_output": text} for text in SPLIT],
        "/v1/chat": [{"event_type": "text-generation", "text": text} for text in SPLIT],
        "/v2/chat": [
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": text}}}}
            for text in SPLIT
        ],
    }


@pytest.mark.parametrize("path", streams())
@pytest.mark.parametrize("content_type", [b"text/event-stream", b"application/x-ndjson"])
def test_values_in_pieces(path: str, content_type: bytes) -> None:
    """A value that comes in pieces of three characters is masked in the answer that they make."""
    pieces = streams()[path]
    lines = b"".join(json.dumps(piece).encode() + b"\n" for piece in pieces)
    data = events(*pieces) if content_type.startswith(b"text") else lines
    record = answered({}, content_type, data, target=path.encode())
    told = record.response.decoded_json
    assert told.count("mail <email> card <payment_card> end") == len(pieces) // len(SPLIT)
    kept = "".join(text for text in SPLIT if text.encode() in record.response.data)
    assert "lovelace" not in kept
    assert "1111" not in told + kept
