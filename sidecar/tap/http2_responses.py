"""HTTP/2 responses: what a header block of the model says, and how it is noted in its call. Pure."""

from typing import Final, NamedTuple

from sidecar.exchange import Exchange, Protocol
from sidecar.tap.request_id import HEADER, MAX_CLIENT_ID

_EVENTS: Final = b"text/event-stream"
# Looked up once: an enum's attributes are slow.
_WEBSOCKET: Final = Protocol.WEBSOCKET
_HTTP2: Final = Protocol.HTTP2

Fields = list[tuple[bytes, bytes]]


class ResponseFields(NamedTuple):
    """What the tap goes by, and what is recorded."""

    # 0 where there is none that can be read.
    status: int
    # The body is a stream of server-sent events.
    is_event_stream: bool
    # The model's id; None where there is none.
    request_id: bytes | None
    # Whether there is anything of gRPC's.
    has_grpc: bool
    # Without pseudo-header fields.
    kept: Fields

    @property
    def is_informational(self) -> bool:
        """A 1xx (RFC 9113, section 8.1): the final response follows."""
        return 100 <= self.status < 200 and self.status != 101


def read_response(fields: Fields) -> ResponseFields:
    """What the `fields` of a response say."""
    status = 0
    is_events = has_grpc = False
    model_id = None
    kept: Fields = []
    for field in fields:
        name, value = field
        if name == b":status":
            status = int(value) if len(value) == 3 and value.isdigit() else 0
        elif name[:1] != b":":
            kept.append(field)
            if name == b"content-type":
                is_events = value[: len(_EVENTS)].lower() == _EVENTS
            elif name == HEADER:
                model_id = value
            elif name[:5] == b"grpc-":
                has_grpc = True
    return ResponseFields(status, is_events, model_id, has_grpc, kept)


def note_response(call: Exchange, read: ResponseFields, now: int) -> bytes | None:
    """Note the final answer; the id to add to it."""
    call.first_response_byte = now
    call.status, call.response_is_events, model_id, has_grpc, call.response_headers = read
    if has_grpc:
        note_grpc_status(call, read.kept)
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
        if name == b"grpc-status":
            call.grpc_status = int(value) if value.isdigit() and len(value) < 4 else 2
        elif name == b"grpc-message":
            call.grpc_message = value
