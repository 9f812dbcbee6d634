"""HTTP/1 calls: pairs requests with responses in order, from their first bytes to their settlement.

Pure. The half of the HTTP/1 tap that knows calls; the other half (`sidecar.tap.http1`) knows bytes. Each
method is told of one event of a framer. What it keeps of calls that wait for their answers is counted in
`_pending`.
"""

from collections import deque
from typing import Final

from sidecar.exchange import EndedBy, Exchange, Protocol
from sidecar.protocols import CROWDED, RequestFramer, RequestHead, ResponseFramer, ResponseHead
from sidecar.tap.connection_facts import ConnectionFacts
from sidecar.tap.interface import TapContext
from sidecar.tap.request_id import MAX_CLIENT_ID, is_usable

ID_NOT_ADDED: Final = "id_not_added"

# What requests that wait for their answers may weigh in one connection: their heads, and so much for each.
PENDING_BYTES: Final = 4 << 20
_PENDING_CALL: Final = 2 << 10

# Looked up once: an enum's attributes are slow.
_BY_MODEL: Final = EndedBy.MODEL
_HTTP1: Final = Protocol.HTTP1


class Http1Calls:
    """The calls of one HTTP/1 connection."""

    __slots__ = (
        "_budget",
        "_calls",
        "_context",
        "_facts",
        "_ledger",
        "_pending",
        "_requests",
        "_responses",
        "_uploading",
    )

    def __init__(self, context: TapContext, facts: ConnectionFacts) -> None:
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

    # -- requests

    def _request_head(self, head: RequestHead, began: int) -> bytes | None:
        """Open the call, which began then; the id to add to the request, None for none."""
        raw, method, target, _, answer, _, caller_id, traceparent, _, _ = head
        self._responses.expect(answer)
        context = self._context
        self._pending += _PENDING_CALL
        if context.skips(target):
            self._ledger.skip()
            self._calls.append(None)
            return None
        call = self._ledger.open(_HTTP1, self._facts, began)
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
            return None
        call.request_id = context.new_request_id()
        if caller_id is CROWDED:
            self._leave_id_out(call)
        else:
            call.client_request_id = caller_id[:MAX_CLIENT_ID]
        return None

    def _leave_id_out(self, call: Exchange) -> None:
        """There is no room for the id in a head of `call`."""
        self._context.row.add("id_not_added")
        if ID_NOT_ADDED not in call.flags:
            call.flags = [*call.flags, ID_NOT_ADDED]

    def _request_complete(self, now: int) -> None:
        call, self._uploading = self._uploading, None
        if call is not None:
            call.request_completed = now
            if call.ended >= 0:  # answered before it was complete
                self._ledger.settle(call, _BY_MODEL, now)

    # -- responses

    def _response_head(self, head: ResponseHead, began: int) -> bytes | None:
        """Note the answer, which began then; the id to add to it, None for none."""
        raw, status, _, _, model_id, is_event_stream, _, _ = head
        if status < 200 and status != 101:  # RFC 9110, section 15.2: the final response follows
            return None
        if self._requests.asks_tunnel and status != 101 and len(self._calls) == 1:
            self._requests.resume()
        call = self._calls[0]
        if call is None:
            return None
        call.first_response_byte = began
        call.status = status
        call.response_head = raw
        if is_event_stream:
            call.response_is_events = True
        if model_id is None:
            return call.request_id
        if model_id is CROWDED:
            self._leave_id_out(call)
        elif model_id != call.request_id:
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

    # -- calls that last

    def _tick_calls(self, now: int) -> None:
        """Tell the ledger of open calls that last, and go on with the segments it names."""
        for place, call in enumerate(self._calls):
            if call is not None:
                self._calls[place] = self._aged(call, now)
        if self._uploading is not None and self._uploading.ended >= 0:
            self._uploading = self._aged(self._uploading, now)

    def _aged(self, call: Exchange, now: int) -> Exchange:
        settings = self._context.settings
        if now - call.started < settings.report_after_ns:
            return call
        self._ledger.report(call, now)
        if now - call.started < settings.segment_after_ns:
            return call
        following = self._ledger.next_segment(call, now)
        if call is self._uploading:
            self._uploading = following
        return following

    # -- ends

    def _open_calls(self) -> list[Exchange]:
        """The open calls, which are forgotten here."""
        calls = [call for call in self._calls if call is not None]
        if self._uploading is not None and self._uploading.ended >= 0:
            calls.append(self._uploading)  # answered already, so no longer among the others
        self._calls.clear()
        self._uploading = None
        self._pending = 0
        return calls

    def _settle_open(self, by: EndedBy, now: int, *flags: str) -> None:
        """All open calls end here, but for those that were answered: through `by`."""
        for call in self._open_calls():
            call.flags = [*call.flags, *flags]
            self._ledger.settle(call, _BY_MODEL if call.ended >= 0 else by, now)
