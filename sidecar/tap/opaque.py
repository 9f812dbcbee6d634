"""Opaque: a connection, or the rest of one, whose bytes pass without being understood.

Pure. It promises one record for the stretch, with what passed each way as far as the caps allow; or, where
none is wanted, that the stretch is counted.
"""

from typing import Final

from sidecar.exchange import EndedBy, Exchange, Protocol
from sidecar.tap.connection_facts import ConnectionFacts
from sidecar.tap.interface import TapContext

_WEBSOCKET: Final = Protocol.WEBSOCKET


class OpaqueTap:
    """Takes part in nothing: all that comes is returned at once."""

    __slots__ = ("_client_has_ended", "_context", "_model_has_ended", "call", "client_held", "model_held")

    def __init__(self, context: TapContext, call: Exchange | None) -> None:
        """Capture into `call`, which is open; without one, only pass bytes on."""
        self._context = context
        self.call = call
        self.client_held = b""
        self.model_held = b""
        self._client_has_ended = self._model_has_ended = False

    @classmethod
    def recording(
        cls, context: TapContext, facts: ConnectionFacts, now: int, protocol: Protocol = Protocol.OPAQUE
    ) -> "OpaqueTap":
        """A tap whose stretch becomes a record."""
        call = context.ledger.open(protocol, facts, now)
        call.request_id = context.new_request_id()
        context.row.add("opaque_connections")
        return cls(context, call)

    @classmethod
    def counting(cls, context: TapContext) -> "OpaqueTap":
        """A tap whose stretch is only counted."""
        context.ledger.unfollowed()
        return cls(context, None)

    def from_client(self, data: bytes, now: int) -> bytes:
        """See Tap."""
        call = self.call
        if call is not None and data:
            if call.protocol is _WEBSOCKET:  # messages go both ways, so their times are of interest both ways
                self._context.budget.capture_timed(call, call.request, data, now)
            else:
                self._context.budget.capture(call, call.request, data)
        return data

    def from_model(self, data: bytes, now: int) -> bytes:
        """See Tap."""
        call = self.call
        if call is not None and data:
            if call.first_response_byte < 0:
                call.first_response_byte = now
            self._context.budget.capture_timed(call, call.response, data, now)
        return data

    def client_ended(self, now: int) -> bytes:
        """See Tap."""
        self._client_has_ended = True
        if self.call is not None:
            self.call.request_completed = now
        self._settle_if_over(now)
        return b""

    def model_ended(self, now: int) -> bytes:
        """See Tap."""
        self._model_has_ended = True
        self._settle_if_over(now)
        return b""

    def lost(self, by: EndedBy, now: int) -> None:
        """See Tap."""
        call, self.call = self.call, None
        if call is not None:
            self._context.ledger.settle(call, by, now)

    @property
    def held_since(self) -> int:
        """See Tap."""
        return -1

    @property
    def is_idle(self) -> bool:
        """See Tap."""
        return self._client_has_ended and self._model_has_ended

    @property
    def weight(self) -> int:
        """See Tap."""
        return 0

    def tick(self, now: int) -> None:
        """See Tap."""
        call, settings = self.call, self._context.settings
        if call is None or now - call.started < settings.report_after_ns:
            return
        self._context.ledger.report(call, now)
        if now - call.started >= settings.segment_after_ns:
            self.call = self._context.ledger.next_segment(call, now)

    def drain(self, _now: int) -> bytes:
        """See Tap."""
        return b""

    def give_up(self, _why: str, _now: int) -> tuple[bytes, bytes]:
        """See Tap."""
        return b"", b""

    def abandon(self, _now: int) -> None:
        """See Tap. The stretch is the call, so nothing else is counted."""
        call, self.call = self.call, None
        if call is not None:
            self._context.ledger.shed_fault(call)

    def _settle_if_over(self, now: int) -> None:
        if self._client_has_ended and self._model_has_ended:
            self.lost(EndedBy.MODEL, now)
