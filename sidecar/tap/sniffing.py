"""Sniffing: chooses the tap of a connection by its first bytes.

Pure. It promises to hold only what may still become several protocols, and to relay opaquely what is none
that it knows, or whose model speaks first (but for HTTP/2, whose servers may); or to refuse it, where the
settings refuse what can't be recorded.
"""

from typing import Final

from sidecar.exchange import EndedBy, Protocol
from sidecar.protocols import Sniffed, sniff_client, sniff_model
from sidecar.tap.connection_facts import ConnectionFacts
from sidecar.tap.http1 import Http1Tap
from sidecar.tap.http2 import Http2Tap
from sidecar.tap.interface import OpeningTap, Refused, Tap, TapContext
from sidecar.tap.opaque import OpaqueTap
from sidecar.tap.sampling import REFUSED

UNKNOWN: Final = "protocol_unknown"


def sniffing(context: TapContext, facts: ConnectionFacts) -> OpeningTap:
    """The tap for a new connection, whatever it speaks."""
    return _Sniffing(context, facts)


class _Sniffing:
    """Holds the first bytes until the protocol is known, then only passes calls on to the tap it chose."""

    __slots__ = ("_chosen", "_client_held", "_context", "_facts", "_is_draining", "_model_held", "_since")

    def __init__(self, context: TapContext, facts: ConnectionFacts) -> None:
        self._context = context
        self._facts = facts
        self._chosen: Tap | None = None
        self._client_held = b""
        self._model_held = b""
        # When the first byte came that is held; -1 before.
        self._since = -1
        self._is_draining = False

    @property
    def successor(self) -> Tap | None:
        """See OpeningTap."""
        return None if self._client_held or self._model_held else self._chosen

    # What the chosen tap holds came after what is held here: that is given to it first, then forgotten.

    @property
    def client_held(self) -> bytes:
        """See Tap."""
        return self._client_held + (self._chosen.client_held if self._chosen is not None else b"")

    @property
    def model_held(self) -> bytes:
        """See Tap."""
        return self._model_held + (self._chosen.model_held if self._chosen is not None else b"")

    @property
    def weight(self) -> int:
        """See Tap."""
        held = len(self._client_held) + len(self._model_held)
        return held + (self._chosen.weight if self._chosen is not None else 0)

    def from_client(self, data: bytes, now: int) -> bytes:
        """See Tap."""
        chosen = self._chosen
        held = self._client_held
        if chosen is not None and not held:
            return chosen.from_client(data, now)
        if chosen is None:
            sniffed = sniff_client(held + data)
            if sniffed is Sniffed.UNDECIDED:
                self._hold(now)
                self._client_held = held + data
                return b""
            chosen = self._choose(sniffed, now)
        if isinstance(chosen, Http1Tap):
            chosen.begin(held, self._since)
            self._client_held = b""
            return chosen.from_client(data, now)
        out = chosen.from_client(held + data, now)
        self._client_held = b""
        return out

    def from_model(self, data: bytes, now: int) -> bytes:
        """See Tap."""
        chosen = self._chosen
        if chosen is not None and not self._model_held:
            return chosen.from_model(data, now)
        data = self._model_held + data
        if chosen is None:
            sniffed = sniff_model(data)
            if sniffed is Sniffed.UNDECIDED:
                self._hold(now)
                self._model_held = data
                return b""
            chosen = self._choose(sniffed, now)
        out = chosen.from_model(data, now)
        self._model_held = b""
        return out

    def client_ended(self, now: int) -> bytes:
        """See Tap."""
        held = self._client_held
        out = b""
        if held:
            chosen = self._chosen or self._choose(Sniffed.UNKNOWN, now)
            out = chosen.from_client(held, now)
        if self._chosen is not None:
            out += self._chosen.client_ended(now)
        self._client_held = b""
        return out

    def model_ended(self, now: int) -> bytes:
        """See Tap."""
        held = self._model_held
        out = b""
        if held:
            chosen = self._chosen or self._choose(Sniffed.UNKNOWN, now)
            out = chosen.from_model(held, now)
        if self._chosen is not None:
            out += self._chosen.model_ended(now)
        self._model_held = b""
        return out

    def lost(self, by: EndedBy, now: int) -> None:
        """See Tap."""
        if self._chosen is not None:
            self._chosen.lost(by, now)

    @property
    def held_since(self) -> int:
        """See Tap."""
        if self._client_held or self._model_held:
            return self._since
        return -1 if self._chosen is None else self._chosen.held_since

    @property
    def is_idle(self) -> bool:
        """See Tap."""
        return (
            not self._client_held and not self._model_held and (self._chosen is None or self._chosen.is_idle)
        )

    def tick(self, now: int) -> None:
        """See Tap."""
        if self._chosen is not None:
            self._chosen.tick(now)

    def drain(self, now: int) -> bytes:
        """See Tap. A tap that is chosen later is told then."""
        self._is_draining = True
        return b"" if self._chosen is None else self._chosen.drain(now)

    def give_up(self, why: str, now: int) -> tuple[bytes, bytes]:
        """See Tap."""
        client_held, model_held = self._client_held, self._model_held
        if self._chosen is None:
            chosen = self._choose(Sniffed.UNKNOWN, now)
            to_model, to_client = chosen.from_client(client_held, now), chosen.from_model(model_held, now)
        else:
            to_model, to_client = self._chosen.give_up(why, now)
            to_model, to_client = client_held + to_model, model_held + to_client
        self._client_held = self._model_held = b""
        return to_model, to_client

    def abandon(self, now: int) -> None:
        """See Tap."""
        if self._chosen is not None:
            self._chosen.abandon(now)
        else:
            self._context.ledger.unfollowed()

    def _hold(self, now: int) -> None:
        if self._since < 0:
            self._since = now

    def _choose(self, sniffed: Sniffed, now: int) -> Tap:
        began = now if self._since < 0 else self._since
        if sniffed is Sniffed.HTTP1:
            self._chosen = Http1Tap(self._context, self._facts)
        elif sniffed is Sniffed.HTTP2:
            self._chosen = Http2Tap(self._context, self._facts)
        elif self._context.settings.refuses_unrecordable:
            raise self._refused(began, now)
        else:
            self._chosen = OpaqueTap.recording(self._context, self._facts, began)
        if self._is_draining:
            self._chosen.drain(now)
        return self._chosen

    def _refused(self, began: int, now: int) -> Refused:
        """Nothing is known of its protocol, so nothing can be answered."""
        call = self._context.ledger.open(Protocol.OPAQUE, self._facts, began)
        call.request_id = self._context.new_request_id()
        call.flags = [UNKNOWN, REFUSED]
        self._context.ledger.settle(call, EndedBy.RELAY, now)
        self._client_held = self._model_held = b""
        self._chosen = OpaqueTap(self._context, None)
        return Refused()
