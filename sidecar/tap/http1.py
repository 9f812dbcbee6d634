"""HTTP/1 tap: pairs requests with responses in order, adds the request id, captures bodies.

Pure. Besides what every tap promises: from the moment that either direction is read as ambiguous, or another
protocol begins, nothing is added any more and the rest of the connection is an opaque stretch; calls that
are open then are settled as cut. What it keeps of calls that wait for their answers is bounded by
PENDING_BYTES.
"""

from collections import deque
from typing import Final

from sidecar.exchange import EndedBy, Exchange, Protocol
from sidecar.protocols import (
    Kind,
    RequestFramer,
    RequestHead,
    ResponseFramer,
    ResponseHead,
    Stop,
    parse_trailers,
    request_line,
)
from sidecar.tap.connection_facts import ConnectionFacts
from sidecar.tap.interface import TapContext
from sidecar.tap.opaque import OpaqueTap
from sidecar.tap.request_id import MAX_CLIENT_ID, is_usable

ID_FIELD: Final = b"x-request-id: "
AMBIGUOUS: Final = "framing_ambiguous"
UNEXPECTED: Final = "response_unexpected"
TOO_LARGE: Final = "head_too_large"

# What requests that wait for their answers may weigh in one connection: their heads, and so much for each.
PENDING_BYTES: Final = 4 << 20
_PENDING_CALL: Final = 2 << 10

_HEAD: Final = Kind.HEAD
_DATA: Final = Kind.DATA
_END: Final = Kind.END
_TRAILERS: Final = Kind.TRAILERS
# Looked up once: an enum's attributes are slow.
_BY_MODEL: Final = EndedBy.MODEL
_HTTP1: Final = Protocol.HTTP1


class Http1Tap:
    """Follows one HTTP/1 connection."""

    __slots__ = (
        "_budget",
        "_calls",
        "_client_has_ended",
        "_context",
        "_facts",
        "_held_since",
        "_ledger",
        "_pending",
        "_requests",
        "_responses",
        "_rest",
        "_uploading",
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
        self._requests = RequestFramer()
        self._responses = ResponseFramer()
        # Requests whose responses are not complete, in order; None for one that is not recorded.
        self._calls: deque[Exchange | None] = deque()
        # The call whose request is not complete.
        self._uploading: Exchange | None = None
        # What `_calls` weighs.
        self._pending = 0
        # When the held part of a response began to arrive.
        self._held_since = 0
        self._client_has_ended = False
        # Follows the rest of the connection, once this tap no longer can.
        self._rest: OpaqueTap | None = None

    # -- the client's bytes

    def from_client(self, data: bytes, now: int) -> bytes:  # noqa: PLR0912
        """See Tap."""
        if self.client_held:
            data = self.client_held + data
        if self._rest is not None:
            self._rest.from_client(data, now)
            self.client_held = b""
            return data
        whole = self._requests.whole(data)
        if whole is not None:
            return self._whole_request(data, *whole, now)
        events, consumed = self._requests.feed(data)
        # Flat, as is its twin below: each call and look-up here is paid for by every call of a model.
        out: list[bytes] = []
        sent = 0
        for kind, value, end in events:
            if kind is _HEAD:
                added = self._request_head(value, now)
                if added is not None:
                    out += (data[sent : end - 2], ID_FIELD, added, b"\r\n")
                    sent = end - 2
            elif kind is _DATA:
                if self._uploading is not None:
                    self._budget.capture(self._uploading, self._uploading.request, value)
            elif kind is _END:
                self._request_complete(now)
            elif kind is _TRAILERS:
                if self._uploading is not None:
                    self._uploading.request_trailers = parse_trailers(value)
            else:
                self._stop(value, now, data[end:], from_client=True)
        if self._pending > PENDING_BYTES and self._rest is None:
            self._stop(Stop.TOO_LARGE, now, b"", from_client=True)
        if consumed == len(data):
            self.client_held = b""
        else:
            self.client_held = data[consumed:]
            data = data[:consumed]
        if not sent:
            return data
        out.append(data[sent:])
        return b"".join(out)

    def _whole_request(self, data: bytes, head: RequestHead, end: int, now: int) -> bytes:
        """What most requests are: one read that holds nothing else. The same as above, with less work."""
        added = self._request_head(head, now)
        call, self._uploading = self._uploading, None
        if call is not None:
            if end < len(data):
                self._budget.capture(call, call.request, data[end:])
            call.request_completed = now
        if self._pending > PENDING_BYTES:
            self._stop(Stop.TOO_LARGE, now, b"", from_client=True)
        self.client_held = b""
        if added is None:
            return data
        return b"%b%b%b\r\n%b" % (data[: end - 2], ID_FIELD, added, data[end - 2 :])

    def _request_head(self, head: RequestHead, now: int) -> bytes | None:
        """Open the call; the id to add to the request, None for none."""
        raw, method, target, _, answer, _, caller_id, traceparent = head
        self._responses.expect(answer)
        context = self._context
        self._pending += _PENDING_CALL
        if context.skips(target):
            self._ledger.skip()
            self._calls.append(None)
            return None
        call = self._ledger.open(_HTTP1, self._facts, now)
        self._calls.append(call)
        self._uploading = call
        call.method = method
        call.target = target
        call.traceparent = traceparent
        call.request_head = raw
        self._pending += len(raw)
        if caller_id is None:
            call.request_id = context.new_request_id()
            return call.request_id
        if is_usable(caller_id):
            call.request_id = caller_id
        else:
            call.client_request_id = caller_id[:MAX_CLIENT_ID]
            call.request_id = context.new_request_id()
        return None

    def _request_complete(self, now: int) -> None:
        call, self._uploading = self._uploading, None
        if call is not None:
            call.request_completed = now
            if call.ended >= 0:  # answered before it was complete
                self._ledger.settle(call, _BY_MODEL, now)

    # -- the model's bytes

    def from_model(self, data: bytes, now: int) -> bytes:  # noqa: PLR0912
        """See Tap."""
        since = now
        if self.model_held:
            data = self.model_held + data
            since = self._held_since
        if self._rest is not None:
            self._rest.from_model(data, now)
            self.model_held = b""
            return data
        whole = self._responses.whole(data)
        if whole is not None:
            return self._whole_response(data, *whole, since, now)
        events, consumed = self._responses.feed(data)
        out: list[bytes] = []
        sent = 0
        for kind, value, end in events:
            if kind is _HEAD:
                added = self._response_head(value, since)
                if added is not None:
                    out += (data[sent : end - 2], ID_FIELD, added, b"\r\n")
                    sent = end - 2
                since = now
            elif kind is _DATA:
                call = self._calls[0]
                if call is not None:
                    self._budget.capture_timed(call, call.response, value, now)
            elif kind is _END:
                self._response_complete(now)
            elif kind is _TRAILERS:
                call = self._calls[0]
                if call is not None:
                    call.response_trailers = parse_trailers(value)
            else:
                self._stop(value, now, data[end:], from_client=False)
        if consumed == len(data):
            self.model_held = b""
        else:
            self._held_since = since
            self.model_held = data[consumed:]
            data = data[:consumed]
        if not sent:
            return data
        out.append(data[sent:])
        return b"".join(out)

    def _whole_response(self, data: bytes, head: ResponseHead, end: int, since: int, now: int) -> bytes:
        """What most responses are, likewise."""
        added = self._response_head(head, since)
        call = self._calls[0]
        if call is not None and end < len(data):
            self._budget.capture_timed(call, call.response, data[end:], now)
        self._response_complete(now)
        self.model_held = b""
        if added is None:
            return data
        return b"%b%b%b\r\n%b" % (data[: end - 2], ID_FIELD, added, data[end - 2 :])

    def _response_head(self, head: ResponseHead, now: int) -> bytes | None:
        """Note the answer; the id to add to it, None for none."""
        raw, status, _, _, model_id = head
        if status < 200 and status != 101:  # RFC 9110, section 15.2: the final response follows
            return None
        if self._requests.asks_tunnel and status != 101 and len(self._calls) == 1:
            self._requests.resume()
        call = self._calls[0]
        if call is None:
            return None
        call.first_response_byte = now
        call.status = status
        call.response_head = raw
        if model_id is None:
            return call.request_id
        if model_id != call.request_id:
            call.model_request_id = model_id[:MAX_CLIENT_ID]
        return None

    def _response_complete(self, now: int) -> None:
        call = self._calls.popleft()
        self._pending -= _PENDING_CALL
        if call is None:
            return
        self._pending -= len(call.request_head)
        call.ended = now
        if call is not self._uploading:
            self._ledger.settle(call, _BY_MODEL, now)

    # -- ends

    def client_ended(self, now: int) -> bytes:
        """See Tap."""
        self._client_has_ended = True
        held = self.client_held
        if self._rest is not None:
            self._rest.from_client(held, now)
            self._rest.client_ended(now)
        self.client_held = b""
        return held

    def model_ended(self, now: int) -> bytes:
        """See Tap."""
        held = self.model_held
        if self._rest is not None:
            self._rest.from_model(held, now)
            self._rest.model_ended(now)
        else:
            for _ in self._responses.end_of_input():
                self._response_complete(now)
            self._settle_open(self._broken_off_by(EndedBy.MODEL_ABORTED), now)
        self.model_held = b""
        return held

    def lost(self, by: EndedBy, now: int) -> None:
        """See Tap."""
        if self._rest is not None:
            self._rest.lost(by, now)
        self._settle_open(self._broken_off_by(by), now)

    def _broken_off_by(self, by: EndedBy) -> EndedBy:
        """Who ended the open calls: a model that ends once its client has ended only follows it.

        An end of input does not tell whether the client still listens; in HTTP/1 it practically never does.
        """
        return EndedBy.CLIENT if self._client_has_ended and by is EndedBy.MODEL_ABORTED else by

    @property
    def held_since(self) -> int:
        """See Tap."""
        return -1

    @property
    def is_idle(self) -> bool:
        """See Tap."""
        return not self._calls and not self.client_held and not self.model_held

    def tick(self, now: int) -> None:
        """See Tap."""

    def drain(self, now: int) -> bytes:  # noqa: ARG002
        """See Tap."""
        return b""

    def give_up(self, why: str, now: int) -> tuple[bytes, bytes]:  # noqa: ARG002
        """See Tap."""
        held = self.client_held, self.model_held
        self.client_held = self.model_held = b""
        self._stop(Stop.TOO_LARGE, now, b"", from_client=True)
        return held

    def abandon(self, now: int) -> None:
        """See Tap."""
        for call in self._open_calls():
            self._ledger.shed_fault(call)
        if self._rest is None:
            self._rest = OpaqueTap.counting(self._context)
        else:
            self._rest.abandon(now)

    def _open_calls(self) -> list[Exchange]:
        """The open calls, which are forgotten here."""
        calls = [call for call in self._calls if call is not None]
        if self._uploading is not None and self._uploading.ended >= 0:
            calls.append(self._uploading)  # answered already, so no longer among the others
        self._calls.clear()
        self._uploading = None
        self._pending = 0
        return calls

    def _settle_open(self, by: EndedBy, now: int, flag: str | None = None) -> None:
        for call in self._open_calls():
            if flag is not None:
                call.flags.append(flag)
            self._ledger.settle(call, EndedBy.MODEL if call.ended >= 0 else by, now)

    # -- what can't be followed

    def _stop(self, why: Stop, now: int, rest: bytes, *, from_client: bool) -> None:
        """Follow nothing from `rest` on, which is the end of what came last."""
        if why is Stop.TUNNEL:
            self._begin_tunnel(now)
        elif why is Stop.TOO_LARGE:
            self._settle_open(EndedBy.RELAY, now, TOO_LARGE)
            self._rest = OpaqueTap.counting(self._context)
        else:
            self._begin_opaque(AMBIGUOUS if why is Stop.AMBIGUOUS else UNEXPECTED, now, rest)
        assert self._rest is not None
        (self._rest.from_client if from_client else self._rest.from_model)(rest, now)

    def _begin_tunnel(self, now: int) -> None:
        """101, or 2xx to CONNECT: the call is complete, what follows is a connection of its own."""
        call = self._calls[0]
        self._response_complete(now)
        self._settle_open(EndedBy.RELAY, now)
        self._rest = OpaqueTap.recording(self._context, self._facts, now)
        if call is not None and self._rest.call is not None:
            self._rest.call.traceparent = call.traceparent

    def _begin_opaque(self, flag: str, now: int, rest: bytes) -> None:
        self._settle_open(EndedBy.RELAY, now, flag)
        self._rest = OpaqueTap.recording(self._context, self._facts, now)
        call = self._rest.call
        assert call is not None
        call.flags.append(flag)
        if flag == AMBIGUOUS:
            self._context.row.add("framing_ambiguous")
            line = request_line(rest)
            if line is not None:
                call.method, call.target = line
