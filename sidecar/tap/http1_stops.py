"""HTTP/1 stops: what becomes of a connection that can't be followed any more.

Pure. The part of the HTTP/1 tap that decides, by the settings, between relaying on unfollowed and refusing.

| Stopped by | `INFERTAP_AMBIGUOUS_FRAMING=reject` | `INFERTAP_UNRECORDABLE=refuse` | else |
|---|---|---|---|
| ambiguous request | 400 | 400 | opaque record, flagged |
| ambiguous response | 502 | 502 | opaque record, flagged |
| head too large | – | 431, 502 | counted as opaque |
| too many unanswered requests | – | closed | counted as opaque |
| response that nobody asked for | – | closed | opaque record, flagged |
| 101 to another protocol than WebSocket, 2xx to CONNECT | – | 502 | opaque record |
| a budget of the relay (`give_up`) | – | closed; 408 for a head | counted as opaque |

An answer is sent only where no answer to that request has begun, and after those to earlier requests.
"""

from typing import Final

from sidecar.exchange import EndedBy, Exchange, Protocol
from sidecar.protocols import Answer, Event, ResponseHead, Stop, request_line
from sidecar.tap.connection_facts import ConnectionFacts
from sidecar.tap.http1_calls import Http1Calls
from sidecar.tap.http1_heads import agrees_on_websocket
from sidecar.tap.http1_refusals import (
    NO_ANSWER,
    TIMEOUT,
    Refusal,
    refusal_answer,
    status_for_request,
    status_for_response,
)
from sidecar.tap.interface import Refused, TapContext
from sidecar.tap.opaque import OpaqueTap
from sidecar.tap.sampling import REFUSED

AMBIGUOUS: Final = "framing_ambiguous"
UNEXPECTED: Final = "response_unexpected"
TOO_LARGE: Final = "head_too_large"
TOO_MANY: Final = "too_many_unanswered"
TUNNEL: Final = "tunnel"
# What the relay calls it.
TOO_SLOW: Final = "head_too_slow"
_FLAGS: Final = {
    Stop.AMBIGUOUS: AMBIGUOUS,
    Stop.TOO_LARGE: TOO_LARGE,
    Stop.UNEXPECTED: UNEXPECTED,
}
_COUNTERS: Final = {Stop.AMBIGUOUS: "framing_ambiguous", Stop.TOO_LARGE: "heads_too_large"}
_ID_LINE: Final = len(b"x-request-id: \r\n")


class Http1Stops(Http1Calls):
    """The calls of one connection, and how following them ends."""

    __slots__ = ("_is_plain", "_refusal", "_rest", "client_held", "model_held")

    def __init__(self, context: TapContext, facts: ConnectionFacts) -> None:
        super().__init__(context, facts)
        self.client_held = b""
        self.model_held = b""
        # A message that is alone in its read may be taken at once. Not while draining, nor once either of
        # these is set.
        self._is_plain = True
        # A request was refused, and waits for the answers before it.
        self._refusal: Refusal | None = None
        # Follows the rest of the connection, once this tap no longer can.
        self._rest: OpaqueTap | None = None

    # -- the framers stop

    def _client_stopped(self, why: Stop, onward: bytes, rest: bytes, now: int) -> bytes:
        """The request framer stopped before `rest`; returns what is to be sent on."""
        self._count(why)
        status = status_for_request(self._context.settings, why)
        if status is None:
            self._follow_no_more(why, rest, now).from_client(rest, now)
            self.client_held = b""
            return onward + rest
        self._refusal = self._refuse_request(_FLAGS[why], status, rest, now)
        if not self._calls:
            raise self._refused(onward, now, may_answer=not self._responses.is_last)
        self._is_plain = False
        self.client_held = b""
        return onward

    def _model_stopped(self, why: Stop, onward: bytes, rest: bytes, events: list[Event], now: int) -> bytes:
        """The same for the response framer; `events` end with the stop."""
        if why is Stop.TUNNEL:
            return self._tunnel_begins(onward, rest, events[-2][1], now)
        self._count(why)
        status = status_for_response(self._context.settings, why)
        if status is None and self._refusal is None:
            self._follow_no_more(why, rest, now).from_model(rest, now)
            self.model_held = b""
            return onward + rest
        raise self._refused_response(_FLAGS[why], status or NO_ANSWER, onward, now)

    def _count(self, why: Stop) -> None:
        counter = _COUNTERS.get(why)
        if counter is not None:
            self._context.row.add(counter)

    def _too_many_unanswered(self, onward: bytes, now: int) -> None:
        """Requests without end and without answers: they are not kept. `onward` is to be sent on."""
        self._context.row.add(TOO_MANY)
        if self._context.settings.refuses_unrecordable:
            self._settle_open(EndedBy.RELAY, now, TOO_MANY, REFUSED)
            raise self._closed(onward, b"", now)
        self._settle_open(EndedBy.RELAY, now, TOO_MANY)
        self._go_on_with(OpaqueTap.counting(self._context))

    # -- relayed on

    def _go_on_with(self, rest: OpaqueTap) -> OpaqueTap:
        self._rest = rest
        self._is_plain = False
        return rest

    def _follow_no_more(self, why: Stop, rest: bytes, now: int) -> OpaqueTap:
        """Open calls are cut here; the tap that follows `rest`."""
        flag = _FLAGS[why]
        self._settle_open(EndedBy.RELAY, now, flag)
        if why is Stop.TOO_LARGE:
            return self._go_on_with(OpaqueTap.counting(self._context))
        following = OpaqueTap.recording(self._context, self._facts, now)
        assert following.call is not None
        self._mark(following.call, rest if why is Stop.AMBIGUOUS else b"", flag)
        return self._go_on_with(following)

    def _mark(self, call: Exchange, data: bytes, *flags: str) -> None:
        """Note on `call` why it is opaque, and the request line that `data` may begin with."""
        call.flags = [*call.flags, *flags]
        line = request_line(data)
        if line is not None:
            call.method, call.target = line

    # -- another protocol begins

    def _tunnel_begins(self, onward: bytes, rest: bytes, head: ResponseHead, now: int) -> bytes:
        """101, or 2xx to CONNECT: the call is complete, what follows is a stretch of its own."""
        call = self._calls[0]
        is_websocket = call is not None and agrees_on_websocket(call.request_head, call.response_head)
        if self._refusal is not None:  # of what came before its time
            self._response_complete(now)
            raise self._refused(onward, now, may_answer=False)
        if call is not None and not is_websocket and self._context.settings.refuses_unrecordable:
            added = _ID_LINE + len(call.request_id) if head.request_id is None else 0
            raise self._refused_tunnel(call, onward[: len(onward) - added - len(head.raw)], now)
        self._response_complete(now)
        self._settle_open(EndedBy.RELAY, now)
        self._go_on_with(self._tunnel(call, is_websocket, now)).from_model(rest, now)
        self.model_held = b""
        return onward + rest

    def _tunnel(self, call: Exchange | None, is_websocket: bool, now: int) -> OpaqueTap:
        """Follows what `call` began; what begins on a path that is never recorded isn't recorded either."""
        if call is None:
            self._ledger.skip()
            return OpaqueTap(self._context, None)
        protocol = Protocol.WEBSOCKET if is_websocket else Protocol.OPAQUE
        following = OpaqueTap.recording(self._context, self._facts, now, protocol)
        stretch = following.call
        assert stretch is not None
        stretch.request_id, stretch.traceparent = call.request_id, call.traceparent
        stretch.method, stretch.target = call.method, call.target
        if is_websocket:  # what was agreed on tells how its messages are read
            stretch.request_head, stretch.response_head = call.request_head, call.response_head
            stretch.status = call.status
        return following

    def _refused_tunnel(self, call: Exchange, onward: bytes, now: int) -> Refused:
        call.response_head = b""
        call.status = 502
        answer = self._answer(502, "a protocol that can't be recorded", call, now)
        self._settle_open(EndedBy.RELAY, now, TUNNEL, REFUSED)
        return self._closed(onward, answer, now)

    # -- refused

    def _refuse_request(self, flag: str, status: int, rest: bytes, now: int) -> Refusal:
        """`rest` is not sent on. The message it belongs to is the call that is refused."""
        call = None
        if self._requests.stopped_within:
            call, self._uploading = self._uploading, None
            if not self._calls or (call is not None and call.ended >= 0):
                status = NO_ANSWER  # it has its answer
            else:
                if len(self._calls) == 1 and self._responses.is_within:
                    status = NO_ANSWER  # its answer has begun
                self._calls.pop()
        if call is None:
            call = self._open_refused(now)
            if rest:
                self._budget.capture(call, call.request, rest)
        self._mark(call, b"" if call.method else rest, flag, REFUSED)
        return Refusal(call, status, self._requests.fault)

    def _refused(self, onward: bytes, now: int, *, may_answer: bool) -> Refused:
        """The refused request's turn has come: settles it; to be raised."""
        refusal, self._refusal = self._refusal, None
        assert refusal is not None
        call, status = refusal.call, refusal.status
        answer = b""
        if may_answer and status != NO_ANSWER:
            answer = self._answer(status, refusal.fault, call, now, to_head=call.method == b"HEAD")
            call.status = status
        self._settle_refused(call, now)
        return self._closed(onward, answer, now)

    def _refused_response(self, flag: str, status: int, onward: bytes, now: int) -> Refused:
        """The response that comes is not sent on; to be raised."""
        responses = self._responses
        answer = b""
        if status != NO_ANSWER and responses.awaited is not None and not responses.stopped_within:
            call = self._calls[0] if self._calls else None
            to_head = responses.awaited is Answer.HEAD
            answer = self._answer(status, f"the answer has {responses.fault}", call, now, to_head=to_head)
            if call is not None:
                call.status = status
        if not any(self._calls) and self._refusal is None:  # no call that could tell of it
            self._calls.append(self._open_refused(now))
        self._settle_open(EndedBy.RELAY, now, flag, REFUSED)
        return self._closed(onward, answer, now)

    def _open_refused(self, now: int) -> Exchange:
        """What is refused without being a call that was followed."""
        call = self._ledger.open(Protocol.OPAQUE, self._facts, now)
        call.request_id = self._context.new_request_id()
        return call

    def _answer(
        self, status: int, fault: str, call: Exchange | None, now: int, *, to_head: bool = False
    ) -> bytes:
        request_id = b"" if call is None else call.request_id
        return refusal_answer(status, fault, request_id, now + self._ledger.wall_offset_ns, to_head=to_head)

    def _settle_refused(self, call: Exchange, now: int) -> None:
        self._ledger.settle(call, EndedBy.MODEL if call.ended >= 0 else EndedBy.RELAY, now)

    def _closed(self, onward: bytes, answer: bytes, now: int) -> Refused:
        """Open calls are settled: what is to be raised. What comes after is nobody's."""
        if self._refusal is not None:
            self._settle_refused(self._refusal.call, now)
            self._refusal = None
        self.client_held = self.model_held = b""
        self._go_on_with(OpaqueTap(self._context, None))
        return Refused(onward, answer)

    # -- the relay's budgets, and faults

    def give_up(self, why: str, now: int) -> tuple[bytes, bytes]:
        """See Tap. A head that came too slowly is answered, where no other request waits for its answer."""
        held = self.client_held, self.model_held
        if self._rest is not None:
            self._rest.from_client(held[0], now)
            self._rest.from_model(held[1], now)
        elif self._context.settings.refuses_unrecordable or self._refusal is not None:
            raise self._given_up(why, now)
        else:
            self._settle_open(EndedBy.RELAY, now, why)
            self._go_on_with(OpaqueTap.counting(self._context))
        self.client_held = self.model_held = b""
        return held

    def _given_up(self, why: str, now: int) -> Refused:
        is_alone = not self._calls and not self._requests.is_within
        answer = b""
        if why == TOO_SLOW and self.client_held and is_alone and self._refusal is None:
            answer = self._answer(TIMEOUT, "a head that came too slowly", None, now)
        self._settle_open(EndedBy.RELAY, now, why, REFUSED)
        return self._closed(b"", answer, now)

    def abandon(self, now: int) -> None:
        """See Tap."""
        for call in self._open_calls():
            self._ledger.shed_fault(call)
        if self._refusal is not None:
            self._ledger.shed_fault(self._refusal.call)
            self._refusal = None
        if self._rest is None:
            self._go_on_with(OpaqueTap.counting(self._context))
        else:
            self._rest.abandon(now)
