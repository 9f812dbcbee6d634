"""HTTP/2 requests: what a header block of the client says. Pure."""

from typing import Final, NamedTuple

from sidecar.exchange import Protocol
from sidecar.tap.request_id import HEADER

_GRPC: Final = b"application/grpc"
_GRPC_WEB: Final = b"application/grpc-web"
# Looked up once: an enum's attributes are slow.
_HTTP2_CALL: Final = Protocol.HTTP2
_GRPC_CALL: Final = Protocol.GRPC
_WEBSOCKET_CALL: Final = Protocol.WEBSOCKET

Fields = list[tuple[bytes, bytes]]


class RequestFields(NamedTuple):
    """What the tap goes by, and what is recorded."""

    protocol: Protocol
    method: bytes
    target: bytes
    traceparent: bytes
    # The caller's id; None where there is none.
    request_id: bytes | None
    # Without pseudo-header fields.
    kept: Fields


def read_request(fields: Fields) -> RequestFields:
    """What the `fields` of a request say."""
    target = method = authority = traceparent = b""
    caller_id = None
    protocol = _HTTP2_CALL
    kept: Fields = []
    for field in fields:
        name, value = field
        if name == b":path":
            target = value
        elif name == b":method":
            method = value
        elif name == b":authority":
            authority = value
            kept.append((b"host", value))  # RFC 9113, section 8.3.1: the same thing
        elif name == b":protocol":  # RFC 8441, section 4: extended CONNECT
            if value == b"websocket":
                protocol = _WEBSOCKET_CALL
        elif name[:1] != b":":
            kept.append(field)
            if name == b"content-type":
                if value.startswith(_GRPC) and not value.startswith(_GRPC_WEB):
                    protocol = _GRPC_CALL
            elif name == HEADER:
                caller_id = value
            elif name == b"traceparent":
                traceparent = value
    # Section 8.5: CONNECT has no path.
    return RequestFields(protocol, method, target or authority, traceparent, caller_id, kept)
