"""Conversion: whatever was captured, a record comes out, in which no step failed."""

from collections import deque
from functools import cache

from infertap import v1
from sidecar import config
from sidecar.exchange import Body, EndedBy, Exchange, Protocol
from sidecar.recorder.conversion import FAILED, Conversion

TYPES = (
    b"application/json",
    b"text/event-stream",
    b"text/plain; charset=utf-16",
    b"application/x-www-form-urlencoded",
    b"multipart/form-data; boundary=b",
    b"application/grpc",
    b"application/x-ndjson",
    b"application/octet-stream",
    b"",
    b"text/html; charset=nonsense",
)
ENCODINGS = (b"", b"gzip", b"deflate", b"br", b"zstd", b"gzip, br", b"identity", b"unknown")
TARGETS = (b"/v1/chat/completions?user=ada@example.org", b"/v2/models/iris/infer", b"/x", b"http://u:p@h/a?b")


@cache
def _conversion() -> Conversion:
    return Conversion(config.read({}), b"key", b"r" * 16)


def conversion(data: bytes) -> None:
    """Four bytes choose protocol, types and encodings; the rest is split at two zeros into both bodies."""
    chosen, (request, _, response) = data[:4].ljust(4, b"\0"), data[4:].partition(b"\0\0")
    protocol = (Protocol.HTTP1, Protocol.WEBSOCKET, Protocol.GRPC, Protocol.HTTP2)[chosen[0] >> 6]
    call = Exchange(1, 0, protocol, 10, 10**18, 5, segment=chosen[0] >> 4 & 1)
    call.is_continued = bool(chosen[0] & 0x20)
    call.ended, call.ended_by, call.status = 100, EndedBy.MODEL, 200
    call.method, call.target = b"POST", TARGETS[chosen[1] % len(TARGETS)]
    fields = [
        (b"content-type", TYPES[chosen[2] % len(TYPES)]),
        (b"content-encoding", ENCODINGS[chosen[3] % len(ENCODINGS)]),
        (b"grpc-encoding", b"gzip"),
    ]
    call.request_headers = call.response_headers = fields
    has_hole = bool(chosen[0] & 8)
    call.request, call.response = _body(request, has_hole), _body(response, has_hole)
    record = v1.Record.FromString(_conversion().convert(0, call, 10**18 + 10**9).record)
    assert FAILED not in record.logging_error_codes


def _body(data: bytes, has_hole: bool) -> Body:
    size = len(data)
    times = [(20, size)] if data else []
    if has_hole:
        tail = data[size // 2 :]
        return Body([data[: size // 2]], size, size + 1, times, len(times), deque([tail]), len(tail))
    return Body([data] if data else [], size, size, times, len(times))
