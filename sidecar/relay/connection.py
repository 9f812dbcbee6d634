"""Connection: one client, one model connection for its whole life, and the tap between them.

Touches the two transports and the monotonic clock. It promises (laws 1 and 2): each read becomes at most one
write; bytes leave in order, as the tap returns them; an end of input is passed on after all that came before
it; a reset is passed on as a reset; a tap that raises is taken out, what it held is forwarded, and the
connection goes on without it.

`ClientSide` and `ModelSide` are the event loop's protocols. `data_received` is the hot path: every attribute
that it looks up lives on the side itself.
"""

import asyncio
import functools
from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING, cast

from sidecar.event_log import log_event
from sidecar.exchange import EndedBy
from sidecar.relay.flow_control import hold, limit_unsent, release
from sidecar.relay.resets import reset_transport, reset_when_delivered
from sidecar.tap import ConnectionFacts, OpeningTap, Tap

if TYPE_CHECKING:
    from sidecar.relay.traffic import Traffic


OpenTap = Callable[[ConnectionFacts], OpeningTap]


def _pass_on(data: bytes, _now: int) -> bytes:
    return data


class Side(asyncio.Protocol):
    """One of the two sockets."""

    __slots__ = (
        "_bytes_cell",
        "_cells",
        "connection",
        "early",
        "ended",
        "follow",
        "half_closes",
        "other",
        "send_onward",
        "transport",
    )

    # Both are set before the connection is joined; `transport` once this side is connected.
    transport: asyncio.Transport
    other: "Side"

    def __init__(self, connection: "Connection", bytes_counter: str) -> None:
        row = connection.traffic.row
        self.connection = connection
        self.ended = False
        # Whether one direction can end alone; over TLS it can't.
        self.half_closes = True
        # What came before the connection was joined: at most one read.
        self.early = b""
        # From this side's bytes to what is sent to the other side.
        self.follow: Callable[[bytes, int], bytes] = self._keep_early
        self.send_onward: Callable[[bytes], None]
        self._cells = row.cells
        self._bytes_cell = row.index[bytes_counter]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: uvloop's transports are asyncio's by interface only.
        self.transport = cast(asyncio.Transport, transport)
        self.half_closes = self.transport.can_write_eof()
        limit_unsent(self.transport)
        self.connection.side_made()

    def data_received(self, data: bytes) -> None:
        self._cells[self._bytes_cell] += len(data)
        try:
            onward = self.follow(data, monotonic_ns())
        except Exception as fault:
            onward = self.connection.detach(self, data, fault)
        if onward:
            self.send_onward(onward)

    def _keep_early(self, data: bytes, _now: int) -> bytes:
        hold(self.transport)
        self.early += data
        self._cells[self._bytes_cell] -= len(data)  # counted when it comes again
        return b""

    def eof_received(self) -> bool:
        self.connection.side_ended(self)
        return self.half_closes  # True: keep writing, the other direction goes on

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.side_lost(self, exc)

    def pause_writing(self) -> None:
        hold(self.other.transport)

    def resume_writing(self) -> None:
        if not self.other.ended:
            release(self.other.transport)


class Connection:
    """Both sides and what happens between them."""

    __slots__ = (
        "_ends_passed_on",
        "_joined",
        "_open_sides",
        "client",
        "closing",
        "connected_at",
        "detached",
        "model",
        "tap",
        "traffic",
    )

    def __init__(self, traffic: "Traffic") -> None:
        self.traffic = traffic
        self.client = Side(self, "bytes_from_client")
        self.model = Side(self, "bytes_from_model")
        self.client.other = self.model
        self.model.other = self.client
        self.tap: Tap | None = None
        # When the model was reached, by the monotonic clock in nanoseconds.
        self.connected_at = -1
        # The tap was taken out by a fault; bytes pass unfollowed.
        self.detached = False
        self.closing = False
        self._joined = False
        self._open_sides = 0
        self._ends_passed_on = 0

    def join(self, facts: ConnectionFacts) -> None:
        """Both sides are connected: relay between them through a tap."""
        self._joined = True
        if self.closing:  # one of them has broken off already
            reset_transport(self.client.transport)
            reset_transport(self.model.transport)
            return
        self.client.send_onward = self.model.transport.write
        self.model.send_onward = self.client.transport.write
        self._open_tap(facts)
        for side in (self.client, self.model):
            self._relay_early(side)

    def _open_tap(self, facts: ConnectionFacts) -> None:
        self.client.follow = self.model.follow = _pass_on
        try:
            tap = self.tap = self.traffic.open_tap(facts)
        except Exception as fault:
            self._count_fault(fault)
            # No tap to do it: a stretch that nobody follows (law 4).
            self.traffic.row.add("seen")
            self.traffic.row.add("opaque")
        else:
            self.client.follow = functools.partial(self._follow_opening, tap, tap.from_client)
            self.model.follow = functools.partial(self._follow_opening, tap, tap.from_model)

    def _follow_opening(
        self, opening: OpeningTap, follow: Callable[[bytes, int], bytes], data: bytes, now: int
    ) -> bytes:
        """The first reads, until it is clear which tap follows: then each read is a call to that one."""
        onward = follow(data, now)
        tap = opening.successor
        if tap is not None and self.tap is opening:
            self.tap = tap
            self.client.follow = tap.from_client
            self.model.follow = tap.from_model
        return onward

    def _relay_early(self, side: Side) -> None:
        if side.early:
            early, side.early = side.early, b""
            side.data_received(early)
        if side.ended:
            self.side_ended(side)
        else:
            release(side.transport)

    # -- beginnings and ends of the sides

    def side_made(self) -> None:
        """A side is connected."""
        self._open_sides += 1

    def abandon(self) -> None:
        """The client went before it could be joined: break the model's side off."""
        self.closing = True
        reset_transport(self.model.transport)

    def side_ended(self, side: Side) -> None:
        """End of input from `side`: pass it on after everything that came before it."""
        side.ended = True
        if not self._joined:
            return
        held = self._tell_end(side)
        if self.closing:
            return
        if held:
            side.send_onward(held)
        self._ends_passed_on += 1
        if side.other.half_closes:
            side.other.transport.write_eof()
        elif side is self.model:
            self.close()  # nothing more will come for the client
        if self._ends_passed_on == 2:
            self.close()

    def _tell_end(self, side: Side) -> bytes:
        if self.tap is None:
            return b""
        try:
            ended = self.tap.client_ended if side is self.client else self.tap.model_ended
            return ended(monotonic_ns())
        except Exception as fault:
            return self.detach(side, b"", fault)

    def side_lost(self, side: Side, error: Exception | None) -> None:
        """The socket of `side` is gone: with `error` by a reset or a timeout, without by our own doing."""
        self._open_sides -= 1
        if not self._joined:
            self.closing = True
        elif error is not None and not self.closing:
            self._settle(EndedBy.CLIENT if side is self.client else EndedBy.MODEL_ABORTED)
            self._pass_reset_on(side.other)
        elif not self.closing:  # an end over TLS ends both directions
            self._settle(EndedBy.CLIENT if side is self.client else EndedBy.MODEL_ABORTED)
            self.closing = True
            side.other.transport.close()
        if self._open_sides == 0:
            self._settle(EndedBy.RELAY)
            self.traffic.closed(self)

    def _pass_reset_on(self, side: Side) -> None:
        self.closing = True
        hold(side.transport)  # nobody is left to take what it sends
        if side is self.client:
            reset_when_delivered(side.transport)
        else:
            reset_transport(side.transport)

    def close(self) -> None:
        """Both directions have ended: end both sides in order, once what is written has been sent."""
        self.closing = True
        self._settle(EndedBy.RELAY)
        self.client.transport.close()
        self.model.transport.close()

    def leave(self) -> None:
        """End the connection from our side: in order where no call is open, else broken off.

        A cut answer must not look like a whole one, so the client of an open call sees a reset.
        """
        if self._open_sides < 2 or self.tap is None:
            self.reset()
            return
        opened = self.traffic.row["open"]
        self._settle(EndedBy.RELAY)
        if self.traffic.row["open"] < opened:
            self.reset()
        else:
            self.close()

    def reset(self) -> None:
        """Break both sides off."""
        self.closing = True
        self._settle(EndedBy.RELAY)
        reset_transport(self.client.transport)
        reset_transport(self.model.transport)

    def _settle(self, by: EndedBy) -> None:
        tap, self.tap = self.tap, None
        if tap is None:
            return
        try:
            tap.lost(by, monotonic_ns())
        except Exception as fault:
            self._count_fault(fault)
            tap.abandon(monotonic_ns())

    # -- faults of the tap

    def detach(self, side: Side, data: bytes, fault: Exception) -> bytes:
        """Take the tap out; returns what `side` still has to send on, and sends what the other side held."""
        tap, self.tap = self.tap, None
        self.client.follow = self.model.follow = _pass_on
        self._count_fault(fault)
        if tap is None:
            return data  # it was taken out before, or the connection is ending
        ours, theirs = tap.client_held, tap.model_held
        tap.abandon(monotonic_ns())
        if side is self.model:
            ours, theirs = theirs, ours
        if theirs:
            side.other.send_onward(theirs)
        return ours + data

    def _count_fault(self, fault: Exception) -> None:
        self.detached = True
        self.traffic.row.add("tap_faults")
        # The type and place only: an exception's text could quote what passed.
        where = fault.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = f"{where.tb_frame.f_code.co_filename.rpartition('/')[2]}:{where.tb_lineno}" if where else ""
        log_event(
            "relay", "tap fault: relaying on without recording", fault=type(fault).__name__, place=place
        )
