"""Read body: one direction's body on its way into a record, raw and read. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.exchange import Body, Exchange
from sidecar.recorder.redaction import Ends, RedactedBody

Fields = Sequence[tuple[bytes, bytes]]


class NamedFields(tuple[tuple[bytes, bytes], ...]):
    """Fields that are asked for by name, often."""

    # No slots: Python has none for kinds of tuple.
    def __init__(self, fields: Fields) -> None:
        # Of several of one name the first.
        self.first = {name.lower(): value for name, value in reversed(fields)}


@dataclass(frozen=True, slots=True)
class WireSide:
    """One direction of a call, raw."""

    call: Exchange
    is_request: bool
    # Its header fields.
    fields: Fields
    # What the answer to an upgrade to WebSocket says of extensions.
    extensions: bytes = b""
    # Names the call, where other segments of it may follow.
    key: bytes = b""
    # What an earlier segment ended with, and this one goes on from; None where that is not known.
    rest: bytes | None = None

    @property
    def body(self) -> Body:
        return self.call.request if self.is_request else self.call.response

    @property
    def is_cut(self) -> bool:
        """Not all of the body was captured."""
        return self.body.captured < self.body.size

    @property
    def ends(self) -> Ends:
        """How what is first there of the body begins and ends."""
        return Ends(self.call.segment > 0, self.is_cut or self.goes_on, self.rest is not None)

    @property
    def goes_on(self) -> bool:
        """More of it may be in another segment."""
        is_over = self.is_request and self.call.request_completed >= 0
        return self.call.is_continued and not is_over

    def parts(self) -> tuple[bytes, bytes]:
        """Head and tail; the whole as head where there is no hole."""
        body = self.body
        head, tail = (self.rest or b"", *body.captured_pieces), body.tail_pieces or ()
        if not self.is_cut:
            return b"".join((*head, *tail)), b""
        return b"".join(head), b"".join(tail)


@dataclass(frozen=True, slots=True)
class Close:
    """What closed a WebSocket: code and redacted reason (RFC 6455, section 7.4), and when it passed."""

    code: int
    reason: str
    # Of the relay's monotonic clock; -1 where that is not known.
    at: int = -1


@dataclass(frozen=True, slots=True)
class ReadBody:
    """A body, and what stands beside it where it is not JSON itself."""

    body: RedactedBody
    # The documents as JSON, where the body's bytes are not JSON themselves.
    view_json: str = ""
    # The documents do not show all that the body holds.
    is_view_cut: bool = False
    # Longer than what its content encoding may become.
    is_cut: bool = False
    # Its end was captured, and can't be read without what is missing.
    is_tail_unread: bool = False
    close: Close | None = None
    # What a body says that ends with its trailers (gRPC-Web); -1 where it says nothing.
    grpc_status: int = -1
    grpc_message: bytes = b""
    grpc_details: bytes = b""
