"""OTLP wire: messages of OTLP, as its JSON has them, in protobuf's binary encoding. Pure.

Field numbers and types are those of opentelemetry-proto 1.x (stable for traces and logs). Of a message
FIELDS names for each field its number, and how it is written:

    varint, fixed64, fixed32     numbers; 64-bit ones come as texts
    double, text, bool
    hex                          bytes that JSON has in hexadecimal: ids of traces and spans
    a name of FIELDS             a message; with [] behind it, many
"""

import struct
from collections.abc import Callable
from typing import Any, Final

FIELDS: Final[dict[str, dict[str, tuple[int, str]]]] = {
    "ExportTraceServiceRequest": {"resourceSpans": (1, "ResourceSpans[]")},
    "ResourceSpans": {"resource": (1, "Resource"), "scopeSpans": (2, "ScopeSpans[]")},
    "ScopeSpans": {"scope": (1, "Scope"), "spans": (2, "Span[]")},
    "Span": {
        "traceId": (1, "hex"),
        "spanId": (2, "hex"),
        "parentSpanId": (4, "hex"),
        "name": (5, "text"),
        "kind": (6, "varint"),
        "startTimeUnixNano": (7, "fixed64"),
        "endTimeUnixNano": (8, "fixed64"),
        "attributes": (9, "KeyValue[]"),
        "events": (11, "Event[]"),
        "status": (15, "Status"),
        "flags": (16, "fixed32"),
    },
    "Event": {"timeUnixNano": (1, "fixed64"), "name": (2, "text"), "attributes": (3, "KeyValue[]")},
    "Status": {"message": (2, "text"), "code": (3, "varint")},
    "ExportLogsServiceRequest": {"resourceLogs": (1, "ResourceLogs[]")},
    "ResourceLogs": {"resource": (1, "Resource"), "scopeLogs": (2, "ScopeLogs[]")},
    "ScopeLogs": {"scope": (1, "Scope"), "logRecords": (2, "LogRecord[]")},
    "LogRecord": {
        "timeUnixNano": (1, "fixed64"),
        "severityNumber": (2, "varint"),
        "severityText": (3, "text"),
        "body": (5, "AnyValue"),
        "attributes": (6, "KeyValue[]"),
        "flags": (8, "fixed32"),
        "traceId": (9, "hex"),
        "spanId": (10, "hex"),
        "observedTimeUnixNano": (11, "fixed64"),
        "eventName": (12, "text"),
    },
    "Resource": {"attributes": (1, "KeyValue[]")},
    "Scope": {"name": (1, "text"), "version": (2, "text")},
    "KeyValue": {"key": (1, "text"), "value": (2, "AnyValue")},
    "AnyValue": {
        "stringValue": (1, "text"),
        "boolValue": (2, "bool"),
        "intValue": (3, "varint"),
        "doubleValue": (4, "double"),
        "arrayValue": (5, "ArrayValue"),
        "kvlistValue": (6, "KeyValueList"),
    },
    "ArrayValue": {"values": (1, "AnyValue[]")},
    "KeyValueList": {"values": (1, "KeyValue[]")},
}
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def encode(told: dict[str, Any], message: str) -> bytes:
    """`told` as the message of that name in FIELDS. Raises KeyError for a field that it has not."""
    fields = FIELDS[message]
    made = bytearray()
    for name, value in told.items():
        number, kind = fields[name]
        if kind.endswith("[]"):
            for each in value:
                made += _delimited(number, encode(each, kind[:-2]))
        elif kind in FIELDS:
            made += _delimited(number, encode(value, kind))
        else:
            wire_type, write = _PLAIN[kind]
            made += _varint(number << 3 | wire_type) + write(value)
    return bytes(made)


def rejected(answer: bytes) -> int:
    """How many spans or log records an Export…ServiceResponse says are not accepted; raises ValueError.

    Its field 1, partial_success, has the number in its field 1.
    """
    counts = (count for partial in _values(answer) for count in _values(partial))
    return sum(count for count in counts if isinstance(count, int))


def _values(message: bytes | int) -> list[int | bytes]:
    """The values of field 1."""
    if isinstance(message, int):
        raise ValueError("not protobuf")  # noqa: TRY004  as all that is not as it should be
    found: list[int | bytes] = []
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        value, at = _read_value(message, at, tag & 7)
        if tag >> 3 == 1:
            found.append(value)
    return found


def _read_value(message: bytes, at: int, wire_type: int) -> tuple[int | bytes, int]:
    if wire_type == _VARINT:
        return _read_varint(message, at)
    length = {_FIXED64: 8, _FIXED32: 4}.get(wire_type)
    if wire_type == _LENGTH:
        length, at = _read_varint(message, at)
    if length is None or at + length > len(message):
        raise ValueError("not protobuf")
    return message[at : at + length], at + length


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("not protobuf")


def _varint(value: int) -> bytes:
    # A negative number is its two's complement in 64 bits.
    value &= (1 << 64) - 1
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def _delimited(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH) + _varint(len(content)) + content


def _with_length(content: bytes) -> bytes:
    return _varint(len(content)) + content


_PLAIN: Final[dict[str, tuple[int, Callable[[Any], bytes]]]] = {
    "varint": (_VARINT, lambda value: _varint(int(value))),
    "bool": (_VARINT, lambda value: b"\x01" if value else b"\x00"),
    "fixed64": (_FIXED64, lambda value: struct.pack("<Q", int(value))),
    "fixed32": (_FIXED32, lambda value: struct.pack("<I", int(value))),
    "double": (_FIXED64, lambda value: struct.pack("<d", value)),
    "text": (_LENGTH, lambda value: _with_length(value.encode())),
    "hex": (_LENGTH, lambda value: _with_length(bytes.fromhex(value))),
}
