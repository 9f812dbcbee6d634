"""Hand-off: how calls go from a relay to the recorder, and how what went missing is known.

The door of the room. The relay uses `Outbox`; the recorder uses one `Inbox` for each relay slot. The bytes
between them are drawn in `wire`. Neither side ever waits for the other.
"""

from sidecar.handoff.inbox import Arrived, Inbox, Lost
from sidecar.handoff.outbox import CaptureBudget, Outbox
from sidecar.handoff.wire import MAX_PACKET_BYTES, WireError, pack_exchange, unpack_exchange

__all__ = [
    "MAX_PACKET_BYTES",
    "Arrived",
    "CaptureBudget",
    "Inbox",
    "Lost",
    "Outbox",
    "WireError",
    "pack_exchange",
    "unpack_exchange",
]
