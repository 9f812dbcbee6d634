"""Traffic: what all connections of one relay process share, and its counters outside law 4's call counts.

Plain state of the process: no sockets, no I/O. The tap's ledger counts calls; this counts connections, bytes
and faults in the same row of the counters page.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sidecar.counters import Row
from sidecar.relay.flow_control import STALLED_MAX

if TYPE_CHECKING:
    from sidecar.relay.connection import Connection, OpenTap

# Clients accepted whose connection is not joined yet: in the TLS handshake, or while the model is dialled.
HALF_OPEN_MAX: Final = 1024


@dataclass(slots=True)
class Traffic:
    """The relay's connections and where they are counted."""

    row: Row
    open_tap: "OpenTap"
    # How many clients may be connected at a time.
    connections_max: int = 1 << 30
    connections: set["Connection"] = field(default_factory=set)
    # Clients accepted and not joined yet.
    opening: int = 0
    # Sides whose peer takes less than is written to it.
    stalled: int = 0
    # So many of them that connections are read in small pieces.
    is_scarce: bool = False
    # In redirect mode: where this relay's own connections to models come from, as (host, port).
    dialled_from: set[tuple[str, int]] = field(default_factory=set)
    # A connection whose tap has failed is broken off, not relayed on.
    refuses_unrecordable: bool = False
    # New connections are asked to go elsewhere at once.
    is_draining: bool = False

    def is_full(self) -> bool:
        """No client can be taken in just now: too many are open, or being opened."""
        return self.opening >= HALF_OPEN_MAX or self.row["connections_open"] >= self.connections_max

    def stall(self, *, more: bool) -> None:
        """One side more, or less, is stalled."""
        self.stalled += 1 if more else -1
        if more and self.stalled >= STALLED_MAX and not self.is_scarce:
            self.is_scarce = True
            for connection in self.connections:
                connection.read_in_pieces(small=True)

    def relax(self) -> None:
        """Connections may be read freely again, where few enough are stalled."""
        if self.stalled < STALLED_MAX // 2:
            self.is_scarce = False

    def accepted(self) -> None:
        """A client has been accepted; its model is being dialled."""
        self.row.add("connections")
        self.row.add("connections_open")
        self.opening += 1

    def refused(self) -> None:
        """The model could not be reached for it."""
        self.row.add("upstream_refused")
        self.row.add("connections_open", -1)

    def not_greeted(self) -> None:
        """The client failed the TLS handshake, or the model could not be asked what it speaks."""
        self.row.add("tls_handshakes_failed")
        self.row.add("connections_open", -1)

    def not_redirected(self) -> None:
        """In redirect mode: nobody knows which model the client wants, or it is the relay itself."""
        self.row.add("not_redirected")
        self.row.add("connections_open", -1)

    def opened(self, connection: "Connection") -> None:
        """The model has been reached."""
        self.connections.add(connection)

    def closed(self, connection: "Connection") -> None:
        """Both sides of the connection are gone. Telling it twice counts once."""
        if connection in self.connections:
            self.connections.remove(connection)
            self.dialled_from.discard(connection.dialled_from)
            self.row.add("connections_open", -1)
