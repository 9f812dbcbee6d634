"""What header lists of HTTP/2 say, and that a list that comes again says it of another call."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import hpack

from sidecar.exchange import Protocol
from sidecar.protocols import HTTP2_PREFACE
from sidecar.tap.http2_requests import read_request
from sidecar.tap.http2_responses import read_response

if TYPE_CHECKING:
    from tests.sidecar.tap.conftest import Rig

    MakeRig = Callable[..., Rig]

REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/a"), (":authority", "model:80")]
LAST = 0x04 | 0x01  # END_HEADERS, END_STREAM


def headers(stream: int, block: bytes) -> bytes:
    return len(block).to_bytes(3, "big") + bytes((1, LAST)) + stream.to_bytes(4, "big") + block


def test_request_is_read() -> None:
    """Pseudo-header fields tell method, target and host; the rest is kept, and some of it is gone by."""
    fields = [
        (b":method", b"POST"),
        (b":path", b"/svc/Call"),
        (b":authority", b"model"),
        (b"content-type", b"application/grpc+proto"),
        (b"x-request-id", b"theirs"),
        (b"traceparent", b"00-x"),
    ]
    read = read_request(fields)
    assert read == (
        *(Protocol.GRPC, b"POST", b"/svc/Call", b"00-x", b"theirs"),
        [(b"host", b"model"), *fields[3:]],
    )


def test_connect_is_to_its_authority() -> None:
    """A CONNECT has no path; an extended one names WebSocket."""
    fields = [(b":method", b"CONNECT"), (b":authority", b"a:1")]
    assert read_request(fields).target == b"a:1"
    assert read_request([*fields, (b":protocol", b"websocket")]).protocol is Protocol.WEBSOCKET


def test_response_is_read() -> None:
    """The status, whether more answers follow, and whether gRPC has its say."""
    assert read_response([(b":status", b"103")]).is_informational
    assert not read_response([(b":status", b"101")]).is_informational
    read = read_response(
        [(b":status", b"200"), (b"content-type", b"Text/Event-Stream"), (b"grpc-status", b"5")]
    )
    assert (read.status, read.is_event_stream, read.has_grpc, read.request_id) == (200, True, True, None)
    assert read_response([(b":status", b"2x0")]).status == 0


def test_lists_that_come_again_belong_to_each_call(make_rig: "MakeRig") -> None:
    """The same block for several calls, another in between: each is recorded as it was, with its own id."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(HTTP2_PREFACE, rig.now())
    requests, answers = hpack.Encoder(), hpack.Encoder()
    other = [(name, "/b" if name == ":path" else value) for name, value in REQUEST]
    for stream, fields, status in ((1, REQUEST, "200"), (3, REQUEST, "200"), (5, REQUEST, "200")):
        tap.from_client(headers(stream, requests.encode(fields)), rig.now())
        tap.from_model(headers(stream, answers.encode([(":status", status), ("a", "b")])), rig.now())
    for stream, fields, status in ((7, other, "204"), (9, REQUEST, "200")):
        tap.from_client(headers(stream, requests.encode(fields)), rig.now())
        tap.from_model(headers(stream, answers.encode([(":status", status), ("a", "b")])), rig.now())
    assert [call.target for call in rig.kept] == [b"/a", b"/a", b"/a", b"/b", b"/a"]
    assert [call.status for call in rig.kept] == [200, 200, 200, 204, 200]
    assert len({call.request_id for call in rig.kept}) == 5
    assert all(list(call.request_headers) == [(b"host", b"model:80")] for call in rig.kept)
    assert all(list(call.response_headers) == [(b"a", b"b")] for call in rig.kept)
