"""Nothing of the wire reaches a record unredacted, through whichever field of a call it comes."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import fields
from types import GenericAlias
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from infertap import oip, v1
from sidecar import config
from sidecar.exchange import Body, EndedBy, Exchange, Protocol, Reason
from sidecar.recorder.conversion import FAILED, Conversion

WALL = 1_767_225_600_000_000_000
# One of each class, and what must not be found of it.
SECRETS = {
    "email": (b"mail ada@example.org now", "ada@"),
    "payment_card": (b"pay 4111 1111 1111 1111 now", "1111 1111"),
    "iban": (b"to DE89 3704 0044 0532 0130 00 now", "0044 0532"),
    "us_ssn": (b"ssn 078-05-1120 now", "05-1120"),
    "ipv4": (b"from 203.0.113.77 now", "203.0.113"),
    "ipv6": (b"from 2001:db8::7:1 now", "db8::7"),
    "phone": (b"call +49 30 1234567 now", "1234567"),
    "jwt": (b"a eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl b", "eyJzdWIi"),
    "bearer": (b"Bearer s3cr3tt0ken99", "s3cr3tt0ken99"),
    "api_key": (b"key sk-abcdefghijklmnopqrstuvwx1 end", "abcdefghijklmn"),
}
RECORDED_HEADERS = b"content-type,content-encoding,host,x-note,user-agent"


def everything(record: Message) -> str:
    """All text and bytes anywhere in a message, as text."""
    return "\n".join(_texts(record))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Message):
        for _, member in value.ListFields():
            yield from _texts(member)
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, str):
        yield value
    elif hasattr(value, "items"):
        for key, member in value.items():
            yield from (str(key), *_texts(member))
    elif hasattr(value, "__iter__"):
        for member in value:
            yield from _texts(member)


def planted(secret: bytes, protocol: Protocol) -> Exchange:
    """A call with `secret` in every field that can hold it; a field of a new type fails here."""
    header_fields = [
        (b"host", secret),
        (b"x-note", secret),
        (secret, secret),
        (b"content-type", b"a/" + secret),
    ]
    by_type: dict[Any, Any] = {
        bytes: secret,
        str: secret.decode(),
        GenericAlias(list, str): [secret.decode()],
        Sequence[tuple[bytes, bytes]]: header_fields,
        Body: Body([secret], len(secret), len(secret), [(5, 1), (6, 2)], 2),
        int: 200,
        float: 0.5,
        bool: False,
        Protocol: protocol,
        EndedBy: EndedBy.MODEL,
        Reason: Reason.RATE,
    }
    values = {each.name: by_type[each.type] for each in fields(Exchange)}
    head = b"".join(name + b": " + value + b"\r\n" for name, value in header_fields) + b"\r\n"
    if protocol is Protocol.HTTP1:
        values["request_head"] = b"POST /" + secret + b" HTTP/1.1\r\n" + head
        values["response_head"] = b"HTTP/1.1 200 " + secret + b"\r\n" + head
    else:
        values["request_head"] = values["response_head"] = b""
    values["started_wall_ns"] = WALL
    values["segment"] = 0
    return Exchange(**values)


def settings(**more: str) -> config.Settings:
    environ = {
        "INFERTAP_RECORD_HEADERS": RECORDED_HEADERS.decode(),
        "INFERTAP_CONTEXT_HEADERS": "x-note",
        "INFERTAP_USER_HEADER": "host",
        "INFERTAP_SESSION_HEADER": "x-note",
    }
    return config.read(environ | {f"INFERTAP_{name.upper()}": value for name, value in more.items()})


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("kind", SECRETS)
def test_no_field_of_a_call_lets_anything_through(protocol: Protocol, kind: str) -> None:
    """What stands in any text of an exchange, of any class, is nowhere in the record, which is whole."""
    secret, telling = SECRETS[kind]
    converted = Conversion(settings(), b"key", b"r" * 16).convert(0, planted(secret, protocol), WALL)
    record = v1.Record.FromString(converted.record)
    assert FAILED not in record.logging_error_codes
    assert telling not in everything(record)
    assert telling.encode() not in converted.record
    assert converted.redactions > 0


@pytest.mark.parametrize("kind", SECRETS)
def test_without_redaction_it_is_found(kind: str) -> None:
    """The search finds what is there: with redaction off, the planted values are in the record."""
    secret, telling = SECRETS[kind]
    open_settings = settings(redact="none", opaque_bodies="keep")
    converted = Conversion(open_settings, None, b"r" * 16).convert(0, planted(secret, Protocol.HTTP2), WALL)
    assert telling in everything(v1.Record.FromString(converted.record))


# -- decoded messages


def fill(message: Message, secret: bytes, depth: int = 0) -> None:
    """`secret` in every string and bytes field of a message, at any depth."""
    for field in message.DESCRIPTOR.fields:
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        if is_map:
            getattr(message, field.name)[secret.decode()].string_param = secret.decode()
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            target = getattr(message, field.name)
            fill(target.add() if field.is_repeated else target, secret, depth + 1)
        elif field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            value: Any = secret if field.type == FieldDescriptor.TYPE_BYTES else secret.decode()
            if field.is_repeated:
                getattr(message, field.name).append(value)
            elif field.name != "datatype":
                setattr(message, field.name, value)
    if "datatype" in message.DESCRIPTOR.fields_by_name:
        message.datatype = "BYTES"  # type: ignore[attr-defined]


def unknown_field(number: int, data: bytes) -> bytes:
    """A length-delimited field (protobuf's wire type 2) of a number that no schema here has."""
    return bytes(((number << 3 | 2) & 0x7F | 0x80, number << 3 >> 7, len(data))) + data


def grpc_exchange(request: bytes, method: str = "ModelInfer", response: bytes = b"") -> Exchange:
    sides = [Body([data] if data else [], len(data), len(data)) for data in (request, response)]
    return Exchange(
        call_number=1,
        route=0,
        protocol=Protocol.GRPC,
        started=0,
        started_wall_ns=WALL,
        ended=5,
        ended_by=EndedBy.MODEL,
        method=b"POST",
        target=b"/inference.GRPCInferenceService/" + method.encode(),
        status=200,
        grpc_status=0,
        request=sides[0],
        response=sides[1],
    )


def framed(data: bytes) -> bytes:
    return struct.pack(">BI", 0, len(data)) + data


def converted(call: Exchange) -> v1.Record:
    return v1.Record.FromString(Conversion(settings(), None, b"r" * 16).convert(0, call, WALL).record)


@pytest.mark.parametrize(
    ("method", "request_type", "response_type"),
    [
        ("ModelInfer", oip.ModelInferRequest, oip.ModelInferResponse),
        ("ModelStreamInfer", oip.ModelInferRequest, oip.ModelStreamInferResponse),
        ("ModelMetadata", oip.ModelMetadataRequest, oip.ModelMetadataResponse),
        ("ModelReady", oip.ModelReadyRequest, oip.ModelReadyResponse),
        ("ServerMetadata", oip.ServerMetadataRequest, oip.ServerMetadataResponse),
    ],
)
def test_no_field_of_a_message_lets_anything_through(
    method: str, request_type: type[Message], response_type: type[Message]
) -> None:
    """What stands in any field of a decoded message is masked in its view, and its bytes are not kept."""
    request, response = request_type(), response_type()
    fill(request, b"ada@example.org")
    fill(response, b"ada@example.org")
    for message in (request, getattr(response, "infer_response", response)):
        for name in ("raw_input_contents", "raw_output_contents"):
            if name in message.DESCRIPTOR.fields_by_name:
                getattr(message, name)[:] = [struct.pack("<I", 15) + b"ada@example.org"]
    record = converted(
        grpc_exchange(framed(request.SerializeToString()), method, framed(response.SerializeToString()))
    )
    assert "ada@" not in everything(record)
    assert "<email>" in record.request.decoded_json + record.response.decoded_json
    assert FAILED not in record.logging_error_codes


@pytest.mark.parametrize(
    "hidden",
    [
        unknown_field(100, b"ada@example.org"),
        # model_name twice: the last one counts (protobuf encoding, "Last One Wins").
        b"\x0a\x0fada@example.org\x0a\x04iris",
        # Within a tensor.
        b"\x2a" + bytes([18]) + unknown_field(77, b"ada@example.org"),
    ],
)
def test_bytes_hide_nothing_that_was_not_read(hidden: bytes) -> None:
    """Bytes of a message that its schema does not show are not kept."""
    message = oip.ModelInferRequest(model_name="iris").SerializeToString()
    record = converted(grpc_exchange(framed(hidden + message)))
    assert '"model_name":"iris"' in record.request.decoded_json
    assert "ada@" not in everything(record)


def test_two_kinds_of_contents() -> None:
    """A tensor that holds numbers and strings at a time is read in whole."""
    tensor = oip.ModelInferRequest.InferInputTensor(name="x", datatype="INT32", shape=[1])
    tensor.contents.int_contents.append(5)
    tensor.contents.bytes_contents.append(b"ada@example.org")
    record = converted(grpc_exchange(framed(oip.ModelInferRequest(inputs=[tensor]).SerializeToString())))
    assert "ada@" not in everything(record)
    assert '"data":[5,"<email>"]' in record.request.decoded_json


def test_what_is_no_text_is_not_kept() -> None:
    """Elements of BYTES that no rule can read are told by their size."""
    tensor = oip.ModelInferRequest.InferInputTensor(name="x", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append("ada@example.org".encode("utf-16-le"))
    record = converted(grpc_exchange(framed(oip.ModelInferRequest(inputs=[tensor]).SerializeToString())))
    assert record.request.data == b""
    assert '"data":["<binary 30 bytes>"]' in record.request.decoded_json
    assert list(record.logging_error_codes) == ["REQUEST_BODY_VIEW_ONLY"]


def test_binary_metadata_is_not_kept() -> None:
    """gRPC metadata in base64 can't be read, so it is masked where it is recorded at all."""
    call = grpc_exchange(b"")
    call.request_headers = [(b"note-bin", b"YWRhQGV4YW1wbGUub3Jn")]
    made = Conversion(settings(record_headers="note-bin"), None, b"r" * 16)
    [header] = v1.Record.FromString(made.convert(0, call, WALL).record).request.headers
    assert header.value == "<binary>"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"http://ada:s3cret@10/v1/x?y=1", "/v1/x"),
        (b"https://token@model/v1", "/v1"),
        (b"http://model/v1/a@b", "/v1/a@b"),
        (b"http://model", "/"),
        (b"model:443", "model:443"),
        (b"/http://ada:s3cret@10", "/http://<url_credential>@10"),
        (b"*", "*"),
    ],
)
def test_path_of_a_target(target: bytes, path: str) -> None:
    """Of an absolute-form target only the path is told, as for any other; above all no user and password."""
    call = grpc_exchange(b"")
    call.target = target
    assert converted(call).path == path
