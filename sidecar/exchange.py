"""Exchange: one call, request and response, as the tap saw it. The value that crosses from tap to recorder.

The tap fills it while the call is open; after the call's end nobody changes it. Plain data, no behaviour, no
I/O. Times are `now` values of the relay's monotonic clock, in nanoseconds, -1 where the event did not happen;
`started_wall_ns` anchors them to the epoch.

Strings from the wire stay bytes: they may hold anything. Nothing in here is redacted yet, so nothing in here
may reach a disk, a log or another host.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final


class Protocol(IntEnum):
    """Same numbers as infertap.v1.Protocol."""

    HTTP1 = 1
    HTTP2 = 2
    GRPC = 3
    OPAQUE = 4
    # What follows a 101 that agreed on WebSocket (RFC 6455): its messages are read in the recorder.
    WEBSOCKET = 5


class EndedBy(IntEnum):
    """Who ended the call. Same numbers as infertap.v1.EndedBy."""

    OPEN = 0
    MODEL = 1
    CLIENT = 2
    MODEL_ABORTED = 3
    RELAY = 4


class Reason(IntEnum):
    """Why the call was kept. Same numbers as infertap.v1.Sampling.Reason."""

    NOT_KEPT = 0
    RATE = 1
    ERROR = 2
    SLOW = 3
    RULE = 4
    DEBUG = 5


# Looked up once: an enum's attributes are slow.
_OPEN: Final = EndedBy.OPEN
_NOT_KEPT: Final = Reason.NOT_KEPT

# At most this many pieces of a body have their time kept.
PIECE_TIMES = 1024


@dataclass(slots=True, init=False)
class Body:
    """What passed in one direction: captured bytes up to the cap, true size always.

    Of a body that is too long its head and its tail are kept, with a hole between them: `captured < size`.
    While `captured == size`, head and tail are the whole body.
    """

    # The head, in order.
    captured_pieces: list[bytes]
    # Bytes of head and tail together.
    captured: int
    # True size: HTTP/1 body bytes without chunk framing, HTTP/2 DATA without padding.
    size: int
    # (time, bytes) of each piece as it passed, the first PIECE_TIMES of them; `piece_count` counts all.
    piece_times: list[tuple[int, int]]
    piece_count: int
    # The body's last `tail` bytes, in order; None where the head is all that is kept.
    tail_pieces: deque[bytes] | None
    tail: int

    def __init__(  # noqa: PLR0917  (as a row of the hand-off has them)
        self,
        captured_pieces: list[bytes] | None = None,
        captured: int = 0,
        size: int = 0,
        piece_times: list[tuple[int, int]] | None = None,
        piece_count: int = 0,
        tail_pieces: deque[bytes] | None = None,
        tail: int = 0,
    ) -> None:
        self.captured_pieces = [] if captured_pieces is None else captured_pieces
        self.captured = captured
        self.size = size
        self.piece_times = [] if piece_times is None else piece_times
        self.piece_count = piece_count
        self.tail_pieces = tail_pieces
        self.tail = tail


@dataclass(slots=True, init=False)
class Exchange:
    """One call. See the module's docstring for times and bytes."""

    # Counts the calls of one relay slot. (run, slot, call_number) identifies the call: its call id follows
    # from it.
    call_number: int
    # Index into Settings.all_routes().
    route: int
    protocol: Protocol
    started: int
    started_wall_ns: int
    upstream_connected: int
    request_completed: int
    first_response_byte: int
    ended: int
    ended_by: EndedBy
    # "ip:port" of the peer.
    client_address: str
    # The id the call goes by: the caller's where it can serve, else the tap's own.
    request_id: bytes
    # The caller's, where it could not serve; cut to 128 bytes.
    client_request_id: bytes
    # The model's, where it answered with one of its own.
    model_request_id: bytes
    traceparent: bytes
    method: bytes
    # Request target as sent: path with query, or absolute form.
    target: bytes
    # Final status; 0 where none was seen. grpc_status -1 where none was seen.
    status: int
    grpc_status: int
    grpc_message: bytes
    # Header fields in order, names as sent, without the pseudo-headers and without what the tap added.
    # HTTP/1 leaves these empty and keeps the head's bytes in *_head: parsing them is the recorder's work.
    request_headers: Sequence[tuple[bytes, bytes]]
    response_headers: Sequence[tuple[bytes, bytes]]
    request_head: bytes
    response_head: bytes
    request_trailers: Sequence[tuple[bytes, bytes]]
    response_trailers: Sequence[tuple[bytes, bytes]]
    request: Body
    response: Body
    # Error code of RST_STREAM, either side; -1 without one.
    reset_code: int
    reason: Reason
    sampling_fraction: float
    # Marks for the record, e.g. "framing_ambiguous", "capture_budget_spent".
    flags: list[str]
    # When the connection was accepted; `started` is when the call's first byte came.
    accepted: int
    # Nanoseconds that its heads waited in the relay: for the model's connection, or for their own ends.
    relay_wait_ns: int
    # A call that lasts is recorded in segments, counted from 0; all but the last are continued by another.
    segment: int
    is_continued: bool
    # It has been told to the recorder as a call in flight. Stays in the relay.
    is_reported: bool
    # When the segment began, -1 for the first; stays in the relay, as does what follows.
    segment_started: int
    # The response's content type is text/event-stream.
    response_is_events: bool

    # Written out, as one is made for every call: what `dataclass` would write stays interpreted where this
    # module is compiled.
    def __init__(  # noqa: PLR0917  (by position, as keywords cost)
        self,
        call_number: int,
        route: int,
        protocol: Protocol,
        started: int,
        started_wall_ns: int = 0,
        upstream_connected: int = -1,
        client_address: str = "",
        accepted: int = -1,
        **later: Any,
    ) -> None:
        """What is known when a call begins; `later` are other fields, by name."""
        self.call_number = call_number
        self.route = route
        self.protocol = protocol
        self.started = started
        self.started_wall_ns = started_wall_ns
        self.upstream_connected = upstream_connected
        self.request_completed = self.first_response_byte = self.ended = -1
        self.ended_by = _OPEN
        self.client_address = client_address
        self.request_id = self.client_request_id = self.model_request_id = self.traceparent = b""
        self.method = self.target = b""
        self.status = 0
        self.grpc_status = -1
        self.grpc_message = b""
        self.request_headers = self.response_headers = ()
        self.request_head = self.response_head = b""
        self.request_trailers = self.response_trailers = ()
        self.request = Body()
        self.response = Body()
        self.reset_code = -1
        self.reason = _NOT_KEPT
        self.sampling_fraction = 1.0
        self.flags = []
        self.accepted = accepted
        self.relay_wait_ns = self.segment = 0
        self.is_continued = self.is_reported = self.response_is_events = False
        self.segment_started = -1
        if later:
            for name, value in later.items():
                setattr(self, name, value)
