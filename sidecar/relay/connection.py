"""Connection: one client, one model connection for its whole life, and the tap between them.

Touches the two transports and the monotonic clock. It promises (laws 1 and 2): bytes leave in order, as the
tap returns them; an end of input is passed on after all that came before it; a reset is passed on as a reset;
a tap that raises is taken out, what it held is forwarded, and the connection goes on without it, unless the
settings want every call on record; a tap that refuses ends the connection, after its answer. Once both sides
are gone nothing holds on to the tap, so that its memory is free at once.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from sidecar.event_log import log_event
from sidecar.exchange import EndedBy
from sidecar.relay.flow_control import hold, release
from sidecar.relay.lingering import linger
from sidecar.relay.resets import reset_transport, reset_when_delivered
from sidecar.relay.side import Follow, Side
from sidecar.tap import ConnectionFacts, OpeningTap, Refused, Tap

if TYPE_CHECKING:
    from sidecar.relay.traffic import Traffic


OpenTap = Callable[[ConnectionFacts], OpeningTap]

# A head of which a part came this long ago is given up: what it holds is sent on, and not followed.
HEAD_NS: Final = 30_000_000_000


def _pass_on(data: bytes, _now: int) -> bytes:
    return data


def _drop(_data: bytes, _now: int) -> bytes:
    return b""


class Connection:
    """Both sides and what happens between them."""

    __deletable__ = ("client", "model")  # where this is compiled: `_let_go`
    __slots__ = (
        "_joined",
        "_open_sides",
        "_passed_at",
        "client",
        "closing",
        "connected_at",
        "dialled_from",
        "model",
        "tap",
        "traffic",
        "waiting_since",
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
        # Since when the client's first bytes wait in its socket; -1 where none do.
        self.waiting_since = -1
        # Our own end of the model's connection, where that matters (redirect mode).
        self.dialled_from = ("", 0)
        self.closing = False
        self._joined = False
        self._open_sides = 0
        # When bytes last passed; kept while the relay drains, else 0.
        self._passed_at = 0

    def join(self, facts: ConnectionFacts) -> None:
        """Both sides are connected: relay between them through a tap."""
        self._joined = True
        if self.closing:  # one of them has broken off already
            reset_transport(self.client.transport)
            reset_transport(self.model.transport)
            return
        self.client.send_onward = self.model.transport.write
        self.model.send_onward = self.client.transport.write
        if not self._open_tap(facts):
            return
        if self.traffic.is_draining:
            self.drain(monotonic_ns())
        if self.traffic.is_scarce:
            self.read_in_pieces(small=True)
        for side in (self.client, self.model):
            side.relay_early()
            if side.ended:
                self.side_ended(side)
            elif not side.other.is_stalled:
                release(side.transport)

    def _open_tap(self, facts: ConnectionFacts) -> bool:
        """Whether the connection goes on."""
        self.client.follow = self.model.follow = _pass_on
        try:
            tap = self.tap = self.traffic.open_tap(facts)
        except Exception as fault:
            self._count_fault(fault)
            # No tap to do it: a stretch that nobody follows (law 4).
            self.traffic.row.add("seen")
            self.traffic.row.add("opaque")
            return not self._end_unfollowed()
        self.client.follow = functools.partial(self._follow_first, tap)
        self.model.follow = functools.partial(self._follow_opening, tap, tap.from_model)
        return True

    def _follow_first(self, opening: OpeningTap, data: bytes, now: int) -> bytes:
        """The client's first read, as of when it came."""
        self.client.follow = functools.partial(self._follow_opening, opening, opening.from_client)
        return self._follow_opening(
            opening, opening.from_client, data, now if self.waiting_since < 0 else self.waiting_since
        )

    def _follow_opening(self, opening: OpeningTap, follow: Follow, data: bytes, now: int) -> bytes:
        """The first reads, until it is clear which tap follows: then each read is a call to that one."""
        onward = follow(data, now)
        tap = opening.successor
        if tap is not None and self.tap is opening:
            self.tap = tap
            self.client.follow = tap.from_client
            self.model.follow = tap.from_model
            if self._passed_at:
                self._note_passing()
        elif self._passed_at:
            self._passed_at = now
        return onward

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
            side.transport.close()  # it was only waited for
            return
        if held:
            side.send_onward(held)
        side.end_is_passed_on = True
        if side.other.half_closes:
            side.other.transport.write_eof()
        elif side is self.model:
            self.close()  # nothing more will come for the client
        if side.other.end_is_passed_on:
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
            if self._joined:
                self._let_go()

    def _let_go(self) -> None:
        """Cut the cycles between the parts: what lived long would wait for a full collection."""
        for side in (self.client, self.model):
            side.follow = _drop
            del side.other
        del self.client, self.model

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

    # -- once a second

    def tick(self, now: int) -> int:
        """Let the tap tell of calls that last, and give up a head that comes too slowly; returns what the
        tap weighs.
        """
        if self._joined and not self.closing:
            self.client.look_for_reset()
            self.model.look_for_reset()
        weight = 0
        with self._detaching_on_fault():
            tap = self.tap
            if tap is not None:
                tap.tick(now)
                since = tap.held_since
                if since == 0:  # what a tap that has stopped still held of the other side
                    self._send_held(*tap.give_up("", now))
                elif since > 0 and now - since > HEAD_NS:
                    self.give_up("head_too_slow", now)
                weight = tap.weight
        return weight

    def give_up(self, why: str, now: int) -> None:
        """A budget is exceeded: what the tap holds is sent on, and what follows is not followed."""
        with self._detaching_on_fault():
            if self.tap is not None:
                self.traffic.row.add(why)
                self._send_held(*self.tap.give_up(why, now))

    def _send_held(self, to_model: bytes, to_client: bytes) -> None:
        if to_model:
            self.client.send_onward(to_model)
        if to_client:
            self.model.send_onward(to_client)

    def read_in_pieces(self, *, small: bool) -> None:
        """Whether both sides are read in small pieces, since too much waits in this process."""
        if self._joined and not self.closing:
            self.client.read_in_pieces(small=small)
            self.model.read_in_pieces(small=small)

    # -- while the relay drains

    def drain(self, now: int) -> None:
        """The relay will end: ask the client to go elsewhere, and note from now on when bytes pass."""
        self._passed_at = now
        with self._detaching_on_fault():
            if self.tap is None:
                return
            said = self.tap.drain(now)
            if said:
                self.model.send_onward(said)
            if isinstance(self.client.follow, functools.partial):
                return  # still opening: its successor is noted
            self._note_passing()

    def end_idle(self, now: int) -> None:
        """End a connection on which no call is open: with the tap's last word, where there is one."""
        with self._detaching_on_fault():
            said = self.tap.drain(now) if self.tap is not None else b""
            if said:
                self.model.send_onward(said)
        self.close()

    def _note_passing(self) -> None:
        for side in (self.client, self.model):
            side.follow = functools.partial(self._follow_noting, side.follow)

    def _follow_noting(self, follow: Follow, data: bytes, now: int) -> bytes:
        self._passed_at = now
        return follow(data, now)

    def is_idle_since(self, moment: int) -> bool:
        """No call is open, and none was since `moment`: it can end without harm. Asked while draining."""
        is_idle = False
        if self.tap is not None and self._passed_at < moment:
            with self._detaching_on_fault():
                is_idle = self.tap.is_idle
        return is_idle

    # -- what the tap raises

    @contextlib.contextmanager
    def _detaching_on_fault(self) -> Iterator[None]:
        """For what is asked of the tap aside from reads."""
        try:
            yield
        except Exception as fault:
            held = self.detach(self.client, b"", fault)
            if held:
                self.client.send_onward(held)

    def detach(self, side: Side, data: bytes, fault: Exception) -> bytes:
        """Take the tap out; returns what `side` still has to send on, and sends what the other side held."""
        tap, self.tap = self.tap, None
        if isinstance(fault, Refused) and tap is not None:
            self._refuse(side, fault)
            return b""
        self.client.follow = self.model.follow = _pass_on
        self._count_fault(fault)
        if tap is None:
            return data  # it was taken out before, or the connection is ending
        ours, theirs = tap.client_held, tap.model_held
        tap.abandon(monotonic_ns())
        if self._end_unfollowed():
            return b""
        if side is self.model:
            ours, theirs = theirs, ours
        if theirs:
            side.other.send_onward(theirs)
        return ours + data

    def _refuse(self, side: Side, refused: Refused) -> None:
        """Close, as the settings want: after what may still go on and the answer, both sides in order.

        Where a direction has ended nothing goes that way any more.
        """
        self.traffic.row.add("connections_refused")
        self.closing = True
        self.client.follow = self.model.follow = _drop
        if refused.onward and not side.end_is_passed_on:
            side.send_onward(refused.onward)
        if refused.answer and not self.model.end_is_passed_on:
            self.model.send_onward(refused.answer)
        self.model.transport.close()
        linger(self.client.transport)

    def _end_unfollowed(self) -> bool:
        """Break the connection off where the settings want every call on record; whether they do."""
        if self.traffic.refuses_unrecordable:
            self.traffic.row.add("connections_refused")
            self.reset()
        return self.traffic.refuses_unrecordable

    def _count_fault(self, fault: Exception) -> None:
        self.traffic.row.add("tap_faults")
        # The type and place only: an exception's text could quote what passed.
        where = fault.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = f"{where.tb_frame.f_code.co_filename.rpartition('/')[2]}:{where.tb_lineno}" if where else ""
        log_event(
            "relay", "tap fault: relaying on without recording", fault=type(fault).__name__, place=place
        )
