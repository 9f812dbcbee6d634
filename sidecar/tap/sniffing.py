"""Sniffing: chooses the tap of a connection by its first bytes.

Pure. It promises to hold only what may still become several protocols, and to relay opaquely what is none
that it knows, or whose model speaks first (but for HTTP/2, whose servers may).
"""

from sidecar.exchange import EndedBy
from sidecar.protocols import Sniffed, sniff_client, sniff_model
from sidecar.tap.connection_facts import ConnectionFacts
from sidecar.tap.http1 import Http1Tap
from sidecar.tap.http2 import Http2Tap
from sidecar.tap.interface import OpeningTap, Tap, TapContext
from sidecar.tap.opaque import OpaqueTap


def sniffing(context: TapContext, facts: ConnectionFacts) -> OpeningTap:
    """The tap for a new connection, whatever it speaks."""
    return _Sniffing(context, facts)


class _Sniffing:
    """Holds the first bytes until the protocol is known, then only passes calls on to the tap it chose."""

    __slots__ = ("_chosen", "_client_held", "_context", "_facts", "_model_held")

    def __init__(self, context: TapContext, facts: ConnectionFacts) -> None:
        self._context = context
        self._facts = facts
        self._chosen: Tap | None = None
        self._client_held = b""
        self._model_held = b""

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

    def from_client(self, data: bytes, now: int) -> bytes:
        """See Tap."""
        chosen = self._chosen
        if chosen is not None and not self._client_held:
            return chosen.from_client(data, now)
        data = self._client_held + data
        if chosen is None:
            sniffed = sniff_client(data)
            if sniffed is Sniffed.UNDECIDED:
                self._client_held = data
                return b""
            chosen = self._choose(sniffed, now)
        out = chosen.from_client(data, now)
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
        """See Tap."""
        return b"" if self._chosen is None else self._chosen.drain(now)

    def give_up(self, why: str, now: int) -> tuple[bytes, bytes]:
        """See Tap."""
        held = self._client_held, self._model_held
        chosen = self._chosen or self._choose(Sniffed.UNKNOWN, now)
        to_model, to_client = chosen.give_up(why, now)
        self._client_held = self._model_held = b""
        return held[0] + to_model, held[1] + to_client

    def abandon(self, now: int) -> None:
        """See Tap."""
        if self._chosen is not None:
            self._chosen.abandon(now)
        else:
            self._context.ledger.unfollowed()

    def _choose(self, sniffed: Sniffed, now: int) -> Tap:
        if sniffed is Sniffed.HTTP1:
            self._chosen = Http1Tap(self._context, self._facts)
        elif sniffed is Sniffed.HTTP2:
            self._chosen = Http2Tap(self._context, self._facts)
        else:
            self._chosen = OpaqueTap.recording(self._context, self._facts, now)
        return self._chosen
