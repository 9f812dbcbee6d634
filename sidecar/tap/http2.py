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
_FIELD_BYTES: Final = 160

_GRPC: Final = b"application/grpc"
_GRPC_WEB: Final = b"application/grpc-web"
# RFC 9113, section 7: the server did not work on the stream.
_REFUSED_STREAM: Final = 7
# Looked up once: an enum's attributes are slow.
_BY_MODEL: Final = EndedBy.MODEL
_HTTP2_CALL: Final = Protocol.HTTP2
_GRPC_CALL: Final = Protocol.GRPC


class Stream:
    """One open stream; `call` is None where it is not recorded."""

    __slots__ = ("answered", "call", "request_ended", "response_ended", "weight")

    def __init__(self, call: Exchange | None) -> None:
        self.call = call
        self.weight = _OPEN_CALL
        # The final header block of the response has passed.
        self.answered = False
        self.request_ended = False
        self.response_ended = False


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
        "_rest",
        "_streams",
        "_weight",
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
        self._streams: dict[int, Stream] = {}
        self._highest = 0
        self._weight = 0
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
        if self._weight > OPEN_BYTES:
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

    def request_fields(self, number: int, fields: Fields, weight: int, ends: bool, now: int) -> bytes | None:
        """A header block of the client; the id to add to it."""
        stream = self._streams.get(number)
        if stream is not None:
            if stream.call is not None:
                self._weigh(stream, fields, weight)
                stream.call.request_trailers = fields
            if ends:
                self.request_ended(number, now)
            return None
        if number <= self._highest or not number & 1:
            return None  # trailers of a stream that is over
        self._highest = number
        return self._open(number, fields, weight, ends, now)

    def _open(self, number: int, fields: Fields, weight: int, ends: bool, now: int) -> bytes | None:
        context = self._context
        target = method = traceparent = b""
        caller_id = None
        is_grpc = False
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
                    is_grpc = value.startswith(_GRPC) and not value.startswith(_GRPC_WEB)
                elif name == HEADER:
                    caller_id = value
                elif name == b"traceparent":
                    traceparent = value
        if context.skips(target):
            self._ledger.skip()
            self._keep(number, Stream(None), ends, now)
            return None
        call = self._ledger.open(_GRPC_CALL if is_grpc else _HTTP2_CALL, self._facts, now)
        call.target = target
        call.method = method
        call.traceparent = traceparent
        call.request_headers = kept
        stream = Stream(call)
        stream.weight += weight + len(kept) * _FIELD_BYTES
        self._keep(number, stream, ends, now)
        if caller_id is None:
            call.request_id = context.new_request_id()
            return call.request_id
        if is_usable(caller_id):
            call.request_id = caller_id
        else:
            call.client_request_id = caller_id[:MAX_CLIENT_ID]
            call.request_id = context.new_request_id()
        return None

    def _keep(self, number: int, stream: Stream, ends: bool, now: int) -> None:
        self._streams[number] = stream
        self._weight += stream.weight
        if ends:
            stream.request_ended = True
            if stream.call is not None:
                stream.call.request_completed = now

    def _weigh(self, stream: Stream, fields: Fields, weight: int) -> None:
        """An open stream keeps one more list."""
        weight += len(fields) * _FIELD_BYTES
        stream.weight += weight
        self._weight += weight

    def request_data(self, number: int, piece: bytes, now: int) -> None:
        """A piece of the client's body."""
        stream = self._streams.get(number)
        if stream is not None and stream.call is not None:
            call = stream.call
            if call.protocol is _GRPC_CALL:  # a stream of messages, whose times tell something
                self._budget.capture_timed(call, call.request, piece, now)
            else:
                self._budget.capture(call, call.request, piece)

    def request_ended(self, number: int, now: int) -> None:
        """The client has sent all."""
        stream = self._streams.get(number)
        if stream is None or stream.request_ended:
            return
        stream.request_ended = True
        if stream.call is not None:
            stream.call.request_completed = now
        if stream.response_ended:
            self._settle(number, _BY_MODEL, now)

    # -- responses

    def response_fields(self, number: int, fields: Fields, weight: int, ends: bool, now: int) -> bytes | None:
        """A header block of the model; the id to add to it."""
        stream = self._streams.get(number)
        if stream is None:
            return None
        wanted = None
        if stream.answered:
            if stream.call is not None:
                stream.call.response_trailers = fields
                note_grpc_status(stream.call, fields)
        elif is_informational(fields):
            return None
        else:
            stream.answered = True
            if stream.call is not None:
                wanted = note_response(stream.call, fields, now)
        if not (ends and stream.request_ended):  # it stays open, with what it has
            self._weigh(stream, fields, weight)
        if ends:
            self.response_ended(number, now)
        return wanted

    def response_data(self, number: int, piece: bytes, now: int) -> None:
        """A piece of the model's body."""
        stream = self._streams.get(number)
        if stream is not None and stream.call is not None:
            self._budget.capture_timed(stream.call, stream.call.response, piece, now)

    def response_ended(self, number: int, now: int) -> None:
        """The model has answered all."""
        stream = self._streams.get(number)
        if stream is None or stream.response_ended:
            return
        stream.response_ended = True
        if stream.call is not None:
            stream.call.ended = now
        if stream.request_ended:
            self._settle(number, _BY_MODEL, now)

    # -- ends

    def reset(self, number: int, code: int, by: EndedBy, now: int) -> None:
        """RST_STREAM; after a complete answer it is how servers say that they read no further."""
        stream = self._streams.get(number)
        if stream is None:
            return
        if stream.call is not None:
            stream.call.reset_code = code
        self._settle(number, _BY_MODEL if stream.response_ended else by, now)

    def going_away(self, last_stream: int, now: int) -> None:
        """The model takes no stream above `last_stream` (section 6.8)."""
        # Streams are opened in ascending order: the latest are the ones, and no frame costs a walk over all.
        while self._streams and (latest := next(reversed(self._streams))) > last_stream:
            self.reset(latest, _REFUSED_STREAM, EndedBy.MODEL_ABORTED, now)

    def _settle(self, number: int, by: EndedBy, now: int) -> None:
        stream = self._streams.pop(number)
        self._weight -= stream.weight
        if stream.call is not None:
            self._ledger.settle(stream.call, by, now)

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

    def abandon(self, now: int) -> None:
        """See Tap."""
        for call, _ in self._forget_open():
            self._ledger.shed_fault(call)
        if self._rest is None:
            self._rest = OpaqueTap.counting(self._context)
        else:
            self._rest.abandon(now)

    def _settle_open(self, by: EndedBy, now: int, flag: str | None = None) -> None:
        for call, has_answered in self._forget_open():
            if flag is not None:
                call.flags.append(flag)
            self._ledger.settle(call, _BY_MODEL if has_answered else by, now)

    def _forget_open(self) -> list[tuple[Exchange, bool]]:
        """The calls that were open, and whether the model had answered all."""
        streams = self._streams.values()
        calls = [(stream.call, stream.response_ended) for stream in streams if stream.call is not None]
        self._streams.clear()
        self._weight = 0
        return calls

    def _stop(self, flag: str, now: int) -> OpaqueTap:
        """Follow nothing any more: the calls that are open are cut, the rest of the connection is opaque."""
        self._settle_open(EndedBy.RELAY, now, flag)
        self._rest = OpaqueTap.recording(self._context, self._facts, now)
        assert self._rest.call is not None
        self._rest.call.flags.append(flag)
        return self._rest


class _Requests:
    """What the client's direction tells."""

    __slots__ = ("data", "end", "fields", "tap")

    def __init__(self, tap: Http2Tap) -> None:
        self.tap = tap
        self.fields = tap.request_fields
        self.data = tap.request_data
        self.end = tap.request_ended

    def reset(self, stream: int, code: int, now: int) -> None:
        self.tap.reset(stream, code, EndedBy.CLIENT, now)

    def going_away(self, last_stream: int, now: int) -> None:
        """Of no interest: it speaks of pushed streams."""


class _Responses:
    """What the model's direction tells."""

    __slots__ = ("data", "end", "fields", "going_away", "tap")

    def __init__(self, tap: Http2Tap) -> None:
        self.tap = tap
        self.fields = tap.response_fields
        self.data = tap.response_data
        self.end = tap.response_ended
        self.going_away = tap.going_away

    def reset(self, stream: int, code: int, now: int) -> None:
        self.tap.reset(stream, code, EndedBy.MODEL_ABORTED, now)
