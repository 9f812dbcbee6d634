"""HTTP/2 responses: what a header block of the model says, noted in its call. Pure."""

from typing import Final

from sidecar.exchange import Exchange, Protocol
from sidecar.tap.request_id import HEADER, MAX_CLIENT_ID

_EVENTS: Final = b"text/event-stream"
# Looked up once: an enum's attributes are slow.
_WEBSOCKET: Final = Protocol.WEBSOCKET
_HTTP2: Final = Protocol.HTTP2

Fields = list[tuple[bytes, bytes]]


def note_response(call: Exchange, fields: Fields, now: int) -> bytes | None:
    """Note the final answer; the id to add to it."""
    call.first_response_byte = now
    kept: Fields = []
    model_id = None
    for field in fields:
        name, value = field
        if name == b":status":
            call.status = int(value) if len(value) == 3 and value.isdigit() else 0
        elif name[:1] != b":":
            kept.append(field)
            if name == b"content-type":
                call.response_is_events = value[: len(_EVENTS)].lower() == _EVENTS
            elif name == HEADER:
                model_id = value
            elif name[:5] == b"grpc-":
                _note_grpc_field(call, name, value)
    call.response_headers = kept
    if call.protocol is _WEBSOCKET and call.status // 100 != 2:  # not agreed on: an answer as any
        call.protocol = _HTTP2
    if model_id is None:
        return call.request_id
    if model_id != call.request_id:
        call.model_request_id = model_id[:MAX_CLIENT_ID]
    return None


def note_grpc_status(call: Exchange, fields: Fields) -> None:
    """Note what trailers say of a gRPC call's end."""
    for name, value in fields:
        _note_grpc_field(call, name, value)


def _note_grpc_field(call: Exchange, name: bytes, value: bytes) -> None:
    if name == b"grpc-status":
        call.grpc_status = int(value) if value.isdigit() and len(value) < 4 else 2
    elif name == b"grpc-message":
        call.grpc_message = value


def is_informational(fields: Fields) -> bool:
    """A 1xx (RFC 9113, section 8.1): the final response follows."""
    return bool(fields) and fields[0][0] == b":status" and fields[0][1][:1] == b"1" and fields[0][1] != b"101"
