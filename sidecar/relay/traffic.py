"""Traffic: what all connections of one relay process share, and its counters outside law 4's call counts.

Plain state of the process: no sockets, no I/O. The tap's ledger counts calls; this counts connections, bytes
and faults in the same row of the counters page.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecar.counters import Row

if TYPE_CHECKING:
    from sidecar.relay.connection import Connection, OpenTap


@dataclass(slots=True)
class Traffic:
    """The relay's connections and where they are counted."""

    row: Row
    open_tap: "OpenTap"
    connections: set["Connection"] = field(default_factory=set)

    def accepted(self) -> None:
        """A client has been accepted; its model is being dialled."""
        self.row.add("connections")
        self.row.add("connections_open")

    def refused(self) -> None:
        """The model could not be reached for it."""
        self.row.add("upstream_refused")
        self.row.add("connections_open", -1)

    def not_greeted(self) -> None:
        """The client failed the TLS handshake, or the model could not be asked what it speaks."""
        self.row.add("tls_handshakes_failed")
        self.row.add("connections_open", -1)

    def opened(self, connection: "Connection") -> None:
        """The model has been reached."""
        self.connections.add(connection)

    def closed(self, connection: "Connection") -> None:
        """Both sides of the connection are gone. Telling it twice counts once."""
        if connection in self.connections:
            self.connections.remove(connection)
            self.row.add("connections_open", -1)

    def is_quiet(self) -> bool:
        """No call is open, and no stretch of bytes passes that the tap does not follow."""
        return self.row["open"] == 0 and not any(each.detached for each in self.connections)
