"""HTTP/2 tap: follows streams, adds the request id to header blocks, captures bodies; gRPC among them.

Pure. Besides what every tap promises: frames pass verbatim, but for the literal at the end of a first header
block; both dynamic tables stay as they were. What can't be followed ends the following of the connection, and
is counted; what it keeps of open streams is bounded by OPEN_BYTES.
"""

from typing import Final

from sidecar.exchange import EndedBy, Exchange, Protocol
from sidecar.protocols import HTTP2_PREFACE, FrameError, HpackError
from sidecar.tap.connection_facts import ConnectionFacts
from sidecar.tap.http2_direction import Direction, Fields
from sidecar.tap.http2_responses import is_informational, note_grpc_status, note_response
from sidecar.tap.interface import TapContext
from sidecar.tap.opaque import OpaqueTap
from sidecar.tap.request_id import HEADER, MAX_CLIENT_ID, is_usable

UNREADABLE: Final = "http2_unreadable"
TOO_MANY: Final = "too_many_open_streams"

# What open streams may weigh in one connection: their header lists, and so much for each.
OPEN_BYTES: Final = 6 << 20
_OPEN_CALL: Final = 1400
_MOST_SKIPPED: Final = 4096
_FIELD_BYTES: Final = 160

_GRPC: Final = b"application/grpc"
_GRPC_WEB: Final = b"application/grpc-web"
_REQUEST_ENDED: Final = 1
_RESPONSE_ENDED: Final = 2
# RFC 9113, section 7: the server did not work on the stream.
_REFUSED_STREAM: Final = 7
# Looked up once: an enum's attributes are slow.
_BY_MODEL: Final = EndedBy.MODEL
_HTTP2_CALL: Final = Protocol.HTTP2
_GRPC_CALL: Final = Protocol.GRPC


class Http2Tap:
    """Follows one HTTP/2 connection."""

    __slots__ = (
        "_budget",
        "_client_has_ended",
        "_context",
        "_facts",
        "_from_client",
        "_from_model",
        "_highest",
        "_ledger",
        "_new_request_id",
        "_open",
        "_rest",
        "_skipped",
        "_skips",
        "_weight",
        "_weights",
        "client_held",
        "model_held",
    )

    def __init__(self, context: TapContext, facts: ConnectionFacts) -> None:
        self.client_held = b""
        self.model_held = b""
        self._context = context
        self._facts = facts
        self._ledger = context.ledger
        self._budget = context.budget
        self._client_has_ended = False
        self._new_request_id = context.new_request_id
        self._skips = context.skips
        # Open calls by stream, what each weighs, and all of them.
        self._open: dict[int, Exchange] = {}
        self._weights: dict[int, int] = {}
        self._weight = 0
        # Open streams that are not recorded: which sides have ended.
        self._skipped: dict[int, int] = {}
        self._highest = 0
        self._from_client = Direction(_Requests(self), len(HTTP2_PREFACE), self._count_not_added)
        self._from_model = Direction(_Responses(self), 0, self._count_not_added)
        self._from_client.other = self._from_model
        self._from_model.other = self._from_client
        # Follows the rest of the connection, once this tap no longer can.
        self._rest: OpaqueTap | None = None

    def _count_not_added(self) -> None:
        self._context.row.add("id_not_added")

    # -- bytes

    def from_client(self, data: bytes, now: int) -> bytes:
        """See Tap."""
        if self.client_held:
            data = self.client_held + data
        if self._rest is not None:
            self._rest.from_client(data, now)
            self.client_held = b""
            return data
        try:
            out, used = self._from_client.follow(data, now)
        except (FrameError, HpackError):
            self._stop(UNREADABLE, now).from_client(data, now)
            self.client_held = b""
            return data
        if self._weight > OPEN_BYTES or len(self._skipped) > _MOST_SKIPPED:
            self._stop(TOO_MANY, now)
        self.client_held = data[used:] if used < len(data) else b""
        return out

    def from_model(self, data: bytes, now: int) -> bytes:
        """See Tap."""
        if self.model_held:
            data = self.model_held + data
        if self._rest is not None:
            self._rest.from_model(data, now)
            self.model_held = b""
            return data
        try:
            out, used = self._from_model.follow(data, now)
        except (FrameError, HpackError):
            self._stop(UNREADABLE, now).from_model(data, now)
            self.model_held = b""
            return data
        if self._weight > OPEN_BYTES:
            self._stop(TOO_MANY, now)
        self.model_held = data[used:] if used < len(data) else b""
        return out

    # -- requests

    def request_fields(  # noqa: PLR0912  (flat: paid for by every call)
        self, number: int, fields: Fields, weight: int, ends: int, now: int
    ) -> bytes | None:
        """A header block of the client; the id to add to it."""
        if number <= self._highest or not number & 1:
            self._request_trailers(number, fields, weight, ends, now)
            return None
        self._highest = number
        target = method = traceparent = b""
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
                kept.append((b"host", value))  # RFC 9113, section 8.3.1: the same thing
            elif name[:1] != b":":
                kept.append(field)
                if name == b"content-type":
                    if value.startswith(_GRPC) and not value.startswith(_GRPC_WEB):
                        protocol = _GRPC_CALL
                elif name == HEADER:
                    caller_id = value
                elif name == b"traceparent":
                    traceparent = value
        if self._skips(target):
            self._ledger.skip()
            self._skipped[number] = _REQUEST_ENDED if ends else 0
            return None
        call = self._ledger.open(protocol, self._facts, now)
        call.target = target
        call.method = method
        call.traceparent = traceparent
        call.request_headers = kept
        if ends:
            call.request_completed = now
        weight += _OPEN_CALL + len(kept) * _FIELD_BYTES
        self._open[number] = call
        self._weights[number] = weight
        self._weight += weight
        if caller_id is None:
            call.request_id = made = self._new_request_id()
            return made
        self._note_caller_id(call, caller_id)
        return None

    def _note_caller_id(self, call: Exchange, caller_id: bytes) -> None:
        if is_usable(caller_id):
            call.request_id = caller_id
        else:
            call.client_request_id = caller_id[:MAX_CLIENT_ID]
            call.request_id = self._new_request_id()

    def _request_trailers(self, number: int, fields: Fields, weight: int, ends: int, now: int) -> None:
        call = self._open.get(number)
        if call is not None:
            self._weigh(number, fields, weight)
            call.request_trailers = fields
        if ends:
            self.request_data(number, b"", ends, now)

    def _weigh(self, number: int, fields: Fields, weight: int) -> None:
        """An open call keeps one more list."""
        weight += len(fields) * _FIELD_BYTES
        self._weights[number] += weight
        self._weight += weight

    def request_data(self, number: int, piece: bytes, ends: int, now: int) -> None:
        """A piece of the client's body, its last where it `ends`."""
        call = self._open.get(number)
        if call is None:
            if ends:
                self._skipped_ended(number, _REQUEST_ENDED)
            return
        if piece:
            if call.protocol is _GRPC_CALL:  # a stream of messages, whose times tell something
                self._budget.capture_timed(call, call.request, piece, now)
            else:
                self._budget.capture(call, call.request, piece)
        if ends and call.request_completed < 0:
            call.request_completed = now
            if call.ended >= 0:
                self._settle(number, call, _BY_MODEL, now)

    # -- responses

    def response_fields(self, number: int, fields: Fields, weight: int, ends: int, now: int) -> bytes | None:
        """A header block of the model; the id to add to it."""
        call = self._open.get(number)
        if call is None:
            if ends:
                self._skipped_ended(number, _RESPONSE_ENDED)
            return None
        wanted = None
        if call.first_response_byte >= 0:
            call.response_trailers = fields
            note_grpc_status(call, fields)
        elif is_informational(fields):
            return None
        else:
            wanted = note_response(call, fields, now)
        if not ends:
            self._weigh(number, fields, weight)
        elif call.ended < 0:
            call.ended = now
            if call.request_completed >= 0:
                self._settle(number, call, _BY_MODEL, now)
            else:  # it stays open, with what it has
                self._weigh(number, fields, weight)
        return wanted

    def response_data(self, number: int, piece: bytes, ends: int, now: int) -> None:
        """A piece of the model's body, its last where it `ends`."""
        call = self._open.get(number)
        if call is None:
            if ends:
                self._skipped_ended(number, _RESPONSE_ENDED)
            return
        if piece:
            self._budget.capture_timed(call, call.response, piece, now)
        if ends and call.ended < 0:
            call.ended = now
            if call.request_completed >= 0:
                self._settle(number, call, _BY_MODEL, now)

    # -- ends

    def _skipped_ended(self, number: int, side: int) -> None:
        """A side of a call that is not recorded has ended, or of one that is over."""
        ended = self._skipped.get(number)
        if ended is None:
            return
        self._skipped[number] = ended = ended | side
        if ended == _REQUEST_ENDED | _RESPONSE_ENDED:
            del self._skipped[number]

    def reset(self, number: int, code: int, by: EndedBy, now: int) -> None:
        """RST_STREAM; after a complete answer it is how servers say that they read no further."""
        call = self._open.get(number)
        if call is None:
            self._skipped.pop(number, None)
            return
        call.reset_code = code
        self._settle(number, call, _BY_MODEL if call.ended >= 0 else by, now)

    def going_away(self, last_stream: int, now: int) -> None:
        """The model takes no stream above `last_stream` (section 6.8)."""
        # Streams are opened in ascending order: the latest are the ones, and no frame costs a walk over all.
        for streams in (self._open, self._skipped):
            while streams and (latest := next(reversed(streams))) > last_stream:
                self.reset(latest, _REFUSED_STREAM, EndedBy.MODEL_ABORTED, now)

    def _settle(self, number: int, call: Exchange, by: EndedBy, now: int) -> None:
        del self._open[number]
        self._weight -= self._weights.pop(number)
        self._ledger.settle(call, by, now)

    def client_ended(self, now: int) -> bytes:
        """See Tap."""
        held, self.client_held = self.client_held, b""
        self._client_has_ended = True
        if self._rest is not None:
            self._rest.from_client(held, now)
            self._rest.client_ended(now)
        return held

    def model_ended(self, now: int) -> bytes:
        """See Tap."""
        held, self.model_held = self.model_held, b""
        if self._rest is not None:
            self._rest.from_model(held, now)
            self._rest.model_ended(now)
        else:
            self._settle_open(self._broken_off_by(EndedBy.MODEL_ABORTED), now)
        return held

    def lost(self, by: EndedBy, now: int) -> None:
        """See Tap."""
        if self._rest is not None:
            self._rest.lost(by, now)
        self._settle_open(self._broken_off_by(by), now)

    def _broken_off_by(self, by: EndedBy) -> EndedBy:
        """Who ended the open calls: a model that ends once its client has ended only follows it."""
        return EndedBy.CLIENT if self._client_has_ended and by is EndedBy.MODEL_ABORTED else by

    @property
    def held_since(self) -> int:
        """See Tap."""
        return -1

    @property
    def is_idle(self) -> bool:
        """See Tap."""
        return not self._open and not self.client_held and not self.model_held

    def tick(self, now: int) -> None:
        """See Tap."""

    def drain(self, now: int) -> bytes:  # noqa: ARG002
        """See Tap."""
        return b""

    def give_up(self, why: str, now: int) -> tuple[bytes, bytes]:
        """See Tap."""
        held = self.client_held, self.model_held
        self.client_held = self.model_held = b""
        self._stop(why, now)
        return held

    def abandon(self, now: int) -> None:
        """See Tap."""
        for call in self._forget_open():
            self._ledger.shed_fault(call)
        if self._rest is None:
            self._rest = OpaqueTap.counting(self._context)
        else:
            self._rest.abandon(now)

    def _settle_open(self, by: EndedBy, now: int, flag: str | None = None) -> None:
        for call in self._forget_open():
            if flag is not None:
                call.flags = [*call.flags, flag]
            # A whole answer is the model's end, though the request never ended.
            self._ledger.settle(call, _BY_MODEL if call.ended >= 0 else by, now)

    def _forget_open(self) -> list[Exchange]:
        calls = list(self._open.values())
        self._open.clear()
        self._weights.clear()
        self._skipped.clear()
        self._weight = 0
        return calls

    def _stop(self, flag: str, now: int) -> OpaqueTap:
        """Follow nothing any more: the calls that are open are cut, the rest of the connection is opaque."""
        self._settle_open(EndedBy.RELAY, now, flag)
        self._rest = OpaqueTap.recording(self._context, self._facts, now)
        assert self._rest.call is not None
        self._rest.call.flags = [*self._rest.call.flags, flag]
        return self._rest


class _Requests:
    """What the client's direction tells."""

    __slots__ = ("data", "fields", "tap")

    def __init__(self, tap: Http2Tap) -> None:
        self.tap = tap
        self.fields = tap.request_fields
        self.data = tap.request_data

    def reset(self, stream: int, code: int, now: int) -> None:
        self.tap.reset(stream, code, EndedBy.CLIENT, now)

    def going_away(self, last_stream: int, now: int) -> None:
        """Of no interest: it speaks of pushed streams."""


class _Responses:
    """What the model's direction tells."""

    __slots__ = ("data", "fields", "going_away", "tap")

    def __init__(self, tap: Http2Tap) -> None:
        self.tap = tap
        self.fields = tap.response_fields
        self.data = tap.response_data
        self.going_away = tap.going_away

    def reset(self, stream: int, code: int, now: int) -> None:
        self.tap.reset(stream, code, EndedBy.MODEL_ABORTED, now)
