"""Exchange: one call, request and response, as the tap saw it. The value that crosses from tap to recorder.

The tap fills it while the call is open; after the call's end nobody changes it. Plain data, no behaviour, no
I/O. Times are `now` values of the relay's monotonic clock, in nanoseconds, -1 where the event did not happen;
`started_wall_ns` anchors them to the epoch.

Strings from the wire stay bytes: they may hold anything. Nothing in here is redacted yet, so nothing in here
may reach a disk, a log or another host.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum


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


# At most this many pieces of a body have their time kept.
PIECE_TIMES = 1024


@dataclass(slots=True)
class Body:
    """What passed in one direction: captured bytes up to the cap, true size always."""

    # Captured bytes in order; their total is `captured`.
    captured_pieces: list[bytes] = field(default_factory=list)
    captured: int = 0
    # True size: HTTP/1 body bytes without chunk framing, HTTP/2 DATA without padding.
    size: int = 0
    # (time, bytes) of each piece as it passed, the first PIECE_TIMES of them; `piece_count` counts all.
    piece_times: list[tuple[int, int]] = field(default_factory=list)
    piece_count: int = 0


@dataclass(slots=True)
class Exchange:
    """One call. See the module's docstring for times and bytes."""

    # Counts the calls of one relay slot. (run, slot, call_number) identifies the call: its call id follows
    # from it.
    call_number: int
    # Index into Settings.all_routes().
    route: int
    protocol: Protocol
    started: int
    started_wall_ns: int = 0
    upstream_connected: int = -1
    request_completed: int = -1
    first_response_byte: int = -1
    ended: int = -1
    ended_by: EndedBy = EndedBy.OPEN
    # "ip:port" of the peer.
    client_address: str = ""
    # The id the call goes by: the caller's where it can serve, else the tap's own.
    request_id: bytes = b""
    # The caller's, where it could not serve; cut to 128 bytes.
    client_request_id: bytes = b""
    # The model's, where it answered with one of its own.
    model_request_id: bytes = b""
    traceparent: bytes = b""
    method: bytes = b""
    # Request target as sent: path with query, or absolute form.
    target: bytes = b""
    # Final status; 0 where none was seen. grpc_status -1 where none was seen.
    status: int = 0
    grpc_status: int = -1
    grpc_message: bytes = b""
    # Header fields in order, names as sent, without the pseudo-headers and without what the tap added.
    # HTTP/1 leaves these empty and keeps the head's bytes in *_head: parsing them is the recorder's work.
    request_headers: Sequence[tuple[bytes, bytes]] = ()
    response_headers: Sequence[tuple[bytes, bytes]] = ()
    request_head: bytes = b""
    response_head: bytes = b""
    request_trailers: Sequence[tuple[bytes, bytes]] = ()
    response_trailers: Sequence[tuple[bytes, bytes]] = ()
    request: Body = field(default_factory=Body)
    response: Body = field(default_factory=Body)
    # Error code of RST_STREAM, either side; -1 without one.
    reset_code: int = -1
    reason: Reason = Reason.NOT_KEPT
    sampling_fraction: float = 1.0
    # Marks for the record, e.g. "framing_ambiguous", "capture_budget_spent".
    flags: list[str] = field(default_factory=list)
    # When the connection was accepted; `started` is when the call's first byte came.
    accepted: int = -1
    # Nanoseconds that its heads waited in the relay: for the model's connection, or for their own ends.
    relay_wait_ns: int = 0
    # A call that lasts is recorded in segments, counted from 0; all but the last are continued by another.
    segment: int = 0
    is_continued: bool = False
    # It has been told to the recorder as a call in flight. Stays in the relay.
    is_reported: bool = False
