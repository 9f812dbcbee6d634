"""Side: one of the two sockets of a connection, as the event loop sees it.

Touches its transport and the monotonic clock. It promises: each read becomes at most one write; what comes
before the connection is joined is kept, one read of it, with the time it came; a peer that does not read
stops the reading of the other (`flow_control`).

`data_received` is the hot path: every attribute that it looks up lives on the side itself.
"""

import asyncio
from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING, cast

from sidecar.relay.flow_control import SCARCE_BYTES, SmallReads, hold, limit_unsent, release
from sidecar.relay.resets import is_broken_off

if TYPE_CHECKING:
    from sidecar.relay.connection import Connection

# From bytes that came, and when, to the bytes that are sent on.
Follow = Callable[[bytes, int], bytes]


class Side(asyncio.Protocol):
    """The client's socket, or the model's."""

    __deletable__ = ("other",)  # where this is compiled: its connection lets go of it
    __slots__ = (
        "_bytes_cell",
        "_cells",
        "connection",
        "early",
        "early_since",
        "end_is_passed_on",
        "ended",
        "follow",
        "half_closes",
        "is_stalled",
        "other",
        "reads_little",
        "send_onward",
        "transport",
    )

    # Set before the connection is joined; `transport` once this side is connected.
    transport: asyncio.Transport
    other: "Side"

    def __init__(self, connection: "Connection", bytes_counter: str) -> None:
        row = connection.traffic.row
        self.connection = connection
        # No more comes from it; and the other side has been told so.
        self.ended = self.end_is_passed_on = False
        # Whether one direction can end alone; over TLS it can't.
        self.half_closes = True
        # What came before the connection was joined: at most one read; and when, -1 where nothing did.
        self.early = b""
        self.early_since = -1
        # More is written to it than its peer takes.
        self.is_stalled = False
        # Read in small pieces, since too much waits in this process.
        self.reads_little = False
        # From this side's bytes to what is sent to the other side.
        self.follow: Follow = self._keep_early
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

    def _keep_early(self, data: bytes, now: int) -> bytes:
        hold(self.transport)
        if self.early_since < 0:
            self.early_since = now
        self.early += data
        return b""

    def relay_early(self) -> None:
        """The connection is joined: what came before goes on, as of the time it came."""
        early, self.early = self.early, b""
        if early:
            try:
                onward = self.follow(early, self.early_since)
            except Exception as fault:
                onward = self.connection.detach(self, early, fault)
            if onward:
                self.send_onward(onward)

    def eof_received(self) -> bool:
        self.connection.side_ended(self)
        return self.half_closes  # True: keep writing, the other direction goes on

    def connection_lost(self, exc: Exception | None) -> None:
        self._stall(now_stalled=False)
        self.connection.side_lost(self, exc)

    def pause_writing(self) -> None:
        self._stall(now_stalled=True)
        hold(self.other.transport)

    def resume_writing(self) -> None:
        self._stall(now_stalled=False)
        if not self.other.ended:
            release(self.other.transport)

    def look_for_reset(self) -> None:
        """Where it is not read, since the other is stalled, its reset goes unseen: reading on shows it."""
        if self.other.is_stalled and is_broken_off(self.transport):
            release(self.transport)

    def read_in_pieces(self, *, small: bool) -> None:
        """From now on read in small pieces, and stop the other side at a low mark; or no longer.

        The loop looks at its protocol where reading starts, so reading is stopped while it changes.
        """
        if small == self.reads_little or self.transport.is_closing():
            return
        self.reads_little = small
        limit_unsent(self.transport, *((SCARCE_BYTES,) if small else ()))
        was_reading = self.transport.is_reading()
        hold(self.transport)
        self.transport.set_protocol(SmallReads(self) if small else self)
        if was_reading:
            release(self.transport)

    def _stall(self, *, now_stalled: bool) -> None:
        if now_stalled != self.is_stalled:
            self.is_stalled = now_stalled
            self.connection.traffic.stall(more=now_stalled)
