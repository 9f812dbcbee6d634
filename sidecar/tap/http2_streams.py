"""HTTP/2 streams: the calls that are open on one connection, and what both sides say of them.

Pure. Each stream that a client opens is a call until both sides have ended it, or one has reset it. What is
kept of open streams is bounded: thousands fit, those beyond are shed, and the connection is followed on.
Bodies count against the capture budget only.
"""

from typing import Final

from sidecar.exchange import EndedBy, Exchange, Protocol
from sidecar.protocols import FIELD_OVERHEAD, STATIC_FIELD_BYTES, http2, literal_without_indexing
from sidecar.tap.connection_facts import ConnectionFacts
from sidecar.tap.http2_floods import HEADERS_FLOOD, RESET_FLOOD, FloodError, Floods
from sidecar.tap.http2_receiver import Receiver
from sidecar.tap.http2_requests import read_request
from sidecar.tap.http2_responses import note_grpc_status, note_response, read_response
from sidecar.tap.http2_unrecorded import PIECE_SHIFT, REQUEST_ENDED, RESPONSE_ENDED, TOO_MANY, Unrecorded
from sidecar.tap.interface import TapContext
from sidecar.tap.request_id import HEADER, MAX_CLIENT_ID, is_usable

Fields = list[tuple[bytes, bytes]]

ID_NOT_ADDED: Final = "id_not_added"

# What open calls may weigh in one connection: so much each, and their header lists, whose fields may all be
# theirs alone.
OPEN_BYTES: Final = 11 << 19
_OPEN_CALL: Final = 1200
_FIELD_BYTES: Final = 160

# Lists up to this are remembered, the latest of each side: the decoder gives the same again, where it comes.
_REMEMBERED_BYTES: Final = 4096
_NO_FIELDS: Final[Fields] = []
# Looked up once: an enum's attributes are slow.
_BY_MODEL: Final = EndedBy.MODEL
_BY_CLIENT: Final = EndedBy.CLIENT
_BY_ABORT: Final = EndedBy.MODEL_ABORTED
_HTTP2_CALL: Final = Protocol.HTTP2

# What a field weighs at most in a list beside what its block holds, and what the id does: while these stay
# below the receiver's limit, nothing need be summed up.
_FIELD_MOST: Final = FIELD_OVERHEAD + STATIC_FIELD_BYTES
_ID_MOST: Final = FIELD_OVERHEAD + len(HEADER) + MAX_CLIENT_ID
# What comes before an id of the length that most have.
_MADE_ID: Final = 36
_BEFORE_MADE_ID: Final = literal_without_indexing(HEADER, bytes(_MADE_ID))[:-_MADE_ID]


class Streams:
    """The streams of one connection."""

    __slots__ = (
        "_answered",
        "_answered_fields",
        "_asked",
        "_asked_fields",
        "_budget",
        "_context",
        "_facts",
        "_floods",
        "_ledger",
        "_new_request_id",
        "_open",
        "_skips",
        "_to_client",
        "_to_model",
        "_unrecorded",
        "_weights",
        "highest",
        "model_is_leaving",
        "opened",
        "weight",
    )

    def __init__(
        self, context: TapContext, facts: ConnectionFacts, floods: Floods, client: Receiver, model: Receiver
    ) -> None:
        """`client` and `model` are what either takes."""
        self._context = context
        self._facts = facts
        self._floods = floods
        self._to_client = client
        self._to_model = model
        self._ledger = context.ledger
        self._budget = context.budget
        self._new_request_id = context.new_request_id
        self._skips = context.skips
        # What the latest list of either side said.
        self._asked_fields = self._answered_fields = _NO_FIELDS
        self._asked = read_request(_NO_FIELDS)
        self._answered = read_response(_NO_FIELDS)
        # Open calls by stream, what each weighs, and all of them.
        self._open: dict[int, Exchange] = {}
        self._weights: dict[int, int] = {}
        self.weight = 0
        # Open streams that are not recorded.
        self._unrecorded = Unrecorded()
        # The latest stream, and how many there were.
        self.highest = 0
        self.opened = 0
        # It has sent GOAWAY.
        self.model_is_leaving = False

    @property
    def are_all_over(self) -> bool:
        """No stream is open, recorded or not."""
        return not self._open and not self._unrecorded

    def carried(self) -> int:
        """See Work."""
        return self._unrecorded.pieces + sum(
            call.request.piece_count
            + call.response.piece_count
            + ((call.request.size + call.response.size) >> PIECE_SHIFT)
            for call in self._open.values()
        )

    # -- requests

    def request_fields(self, number: int, fields: Fields, weight: int, ends: int, now: int) -> bytes:
        """A header block of the client; what is to be added to it."""
        if number <= self.highest or not number & 1:
            self._request_trailers(number, fields, weight, ends, now)
            return b""
        self.highest = number
        self.opened += 1
        if fields is not self._asked_fields:
            self._asked = read_request(fields)
            self._asked_fields = fields if weight <= _REMEMBERED_BYTES else _NO_FIELDS
        protocol, method, target, traceparent, caller_id, kept = self._asked
        if self._skips(target):
            self._ledger.skip()
            self._unrecorded.add(number, REQUEST_ENDED if ends else 0)
            return b""
        call = self._ledger.open(protocol, self._facts, now)
        call.target = target
        call.method = method
        call.traceparent = traceparent
        call.request_headers = kept
        if ends:
            call.request_completed = now
        self._open[number] = call
        self._weights[number] = weighs = weight + _OPEN_CALL + len(kept) * _FIELD_BYTES
        self.weight = weighs = self.weight + weighs
        if weighs > OPEN_BYTES:
            self._shed(number, call)
            return b""
        if caller_id is not None:
            self._note_caller_id(call, caller_id)
            return b""
        call.request_id = made = self._new_request_id()
        most = self._to_model.list_most
        if weight + len(fields) * _FIELD_MOST + _ID_MOST > most and self._to_model.exceeds_list(fields, made):
            return self._has_no_room(call)
        return _BEFORE_MADE_ID + made

    def late_request(
        self, number: int, fields: Fields, weight: int, ends: int, times: tuple[int, int]
    ) -> bytes:
        """A header block of the client that came from the first to the second of `times`."""
        since, now = times
        added = self.request_fields(number, fields, weight, 0, since)
        self._note_wait(number, now - since)
        if ends:
            self.request_data(number, b"", ends, now)
        return added

    def _note_caller_id(self, call: Exchange, caller_id: bytes) -> None:
        if is_usable(caller_id):
            call.request_id = caller_id
        else:
            call.client_request_id = caller_id[:MAX_CLIENT_ID]
            call.request_id = self._new_request_id()

    def _note_wait(self, number: int, waited: int) -> None:
        call = self._open.get(number)
        if call is not None:
            call.relay_wait_ns += waited

    def _request_trailers(self, number: int, fields: Fields, weight: int, ends: int, now: int) -> None:
        call = self._open.get(number)
        if call is None or not ends:  # no trailers of a call
            self._floods.frames(1, HEADERS_FLOOD, self, now)
        if call is not None:
            call.request_trailers = fields
            self._weigh(number, call, fields, weight)
        if ends:
            self.request_data(number, b"", ends, now)

    def _weigh(self, number: int, call: Exchange, fields: Fields, weight: int) -> None:
        """An open call keeps one more list."""
        weight += len(fields) * _FIELD_BYTES
        self._weights[number] += weight
        self.weight += weight
        if self.weight > OPEN_BYTES:
            self._shed(number, call)

    def request_data(self, number: int, piece: bytes, ends: int, now: int) -> None:
        """A piece of the client's body, its last where it `ends`."""
        call = self._open.get(number)
        if call is None:
            self._unrecorded.data(number, piece, REQUEST_ENDED if ends else 0)
            return
        if piece:
            if call.protocol is _HTTP2_CALL:
                self._budget.capture(call, call.request, piece)
            else:  # a stream of messages, whose times tell something
                self._budget.capture_timed(call, call.request, piece, now)
        if ends and call.request_completed < 0:
            call.request_completed = now
            if call.ended >= 0:
                self._settle(number, call, _BY_MODEL, now)

    # -- responses

    def response_fields(self, number: int, fields: Fields, weight: int, ends: int, now: int) -> bytes:
        """A header block of the model; what is to be added to it."""
        call = self._open.get(number)
        if call is None:
            self._pass_unrecorded_fields(number, ends, now)
            return b""
        added = b""
        if call.first_response_byte >= 0:
            if not ends:
                self._floods.frames(1, HEADERS_FLOOD, self, now)
            call.response_trailers = fields
            note_grpc_status(call, fields)
        else:
            if fields is not self._answered_fields:
                self._answered = read_response(fields)
                self._answered_fields = fields if weight <= _REMEMBERED_BYTES else _NO_FIELDS
            if not ends and self._answered.is_informational:
                self._floods.frames(1, HEADERS_FLOOD, self, now)
                return b""
            wanted = note_response(call, self._answered, now)
            if wanted:
                added = self._literal(call, fields, weight, wanted)
        if not ends:
            self._weigh(number, call, fields, weight)
        elif call.ended < 0:
            call.ended = now
            if call.request_completed >= 0:
                self._settle(number, call, _BY_MODEL, now)
            else:  # it stays open, with what it has
                self._weigh(number, call, fields, weight)
        return added

    def late_response(
        self, number: int, fields: Fields, weight: int, ends: int, times: tuple[int, int]
    ) -> bytes:
        """A header block of the model that came from the first to the second of `times`."""
        since, now = times
        self._note_wait(number, now - since)
        added = self.response_fields(number, fields, weight, 0, since)
        if ends:
            self.response_data(number, b"", ends, now)
        return added

    def _literal(self, call: Exchange, fields: Fields, weight: int, wanted: bytes) -> bytes:
        """The id to add to an answer; empty where that would make a list larger than the client takes."""
        client = self._to_client
        most = weight + len(fields) * _FIELD_MOST + _ID_MOST
        if most > client.list_most and client.exceeds_list(fields, wanted):
            return self._has_no_room(call)
        if len(wanted) == _MADE_ID:
            return _BEFORE_MADE_ID + wanted
        return literal_without_indexing(HEADER, wanted)

    def _has_no_room(self, call: Exchange) -> bytes:
        self._context.row.add("id_not_added")
        if ID_NOT_ADDED not in call.flags:
            call.flags.append(ID_NOT_ADDED)
        return b""

    def response_data(self, number: int, piece: bytes, ends: int, now: int) -> None:
        """A piece of the model's body, its last where it `ends`."""
        call = self._open.get(number)
        if call is None:
            self._unrecorded.data(number, piece, RESPONSE_ENDED if ends else 0)
            return
        if piece:
            self._budget.capture_timed(call, call.response, piece, now)
        if ends and call.ended < 0:
            call.ended = now
            if call.request_completed >= 0:
                self._settle(number, call, _BY_MODEL, now)

    # -- streams that are not recorded, or over

    def _shed(self, number: int, call: Exchange) -> None:
        """The open calls weigh too much: this one has no record."""
        if self._context.settings.refuses_unrecordable:
            raise FloodError(TOO_MANY)
        del self._open[number]
        self.weight -= self._weights.pop(number)
        self._ledger.shed_stream(call)
        request_ended = REQUEST_ENDED if call.request_completed >= 0 else 0
        self._unrecorded.add(number, request_ended | (RESPONSE_ENDED if call.ended >= 0 else 0))

    def _pass_unrecorded_fields(self, number: int, ends: int, now: int) -> None:
        if number not in self._unrecorded:
            self._floods.frames(1, HEADERS_FLOOD, self, now)
        elif ends:
            self._unrecorded.data(number, b"", RESPONSE_ENDED)

    # -- ends

    def client_resets(self, number: int, code: int, now: int) -> None:
        """RST_STREAM of the client."""
        self._reset(number, code, _BY_CLIENT, now)

    def model_resets(self, number: int, code: int, now: int) -> None:
        """RST_STREAM of the model; after a whole answer it is how servers say that they read no further."""
        self._reset(number, code, _BY_ABORT, now)

    def _reset(self, number: int, code: int, by: EndedBy, now: int) -> None:
        call = self._open.get(number)
        if call is not None:
            answered = call.ended >= 0
            call.reset_code = code
            self._settle(number, call, _BY_MODEL if answered else by, now)
        else:
            answered = not self._unrecorded.reset(number)
        if answered:
            self._floods.frames(1, RESET_FLOOD, self, now)
        else:
            self._floods.reset(self, now)

    def model_goes_away(self, last_stream: int, now: int) -> None:
        """The model takes no stream above `last_stream` (section 6.8)."""
        self.model_is_leaving = True
        # Streams are opened in ascending order: the latest are the ones, and no frame costs a walk over all.
        while self._open and (latest := next(reversed(self._open))) > last_stream:
            call = self._open[latest]
            call.reset_code = http2.REFUSED_STREAM
            self._settle(latest, call, _BY_MODEL if call.ended >= 0 else _BY_ABORT, now)

    def _settle(self, number: int, call: Exchange, by: EndedBy, now: int) -> None:
        del self._open[number]
        self.weight -= self._weights.pop(number)
        self._ledger.settle(call, by, now)

    def settle_all(self, by: EndedBy, now: int, flags: tuple[str, ...] = ()) -> None:
        """The connection is over, or can't be followed: end every call that is open."""
        for call in self._forget():
            call.flags.extend(flags)
            # A whole answer is the model's end, though the request never ended.
            self._ledger.settle(call, _BY_MODEL if call.ended >= 0 else by, now)

    def shed_all(self) -> None:
        """The tap has failed: the open calls have no record."""
        for call in self._forget():
            self._ledger.shed_fault(call)

    def _forget(self) -> list[Exchange]:
        calls = list(self._open.values())
        self._open.clear()
        self._weights.clear()
        self._unrecorded.clear()
        self.weight = 0
        return calls

    # -- calls that last

    def tick(self, now: int) -> None:
        """Tell of calls that last, and end segments that are over."""
        settings = self._context.settings
        told = now - settings.report_after_ns
        ended = now - settings.segment_after_ns
        for number, call in self._open.items():
            if call.started <= told:
                self._ledger.report(call, now)
            if call.started <= ended:
                self._open[number] = self._ledger.next_segment(call, now)
