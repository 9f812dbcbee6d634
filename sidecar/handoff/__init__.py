"""Hand-off: how calls go from a relay to the recorder, and how what went missing is known.

The door of the room. The relay uses `Outbox`, and `Reports` for calls in flight; the recorder uses one
`Inbox` for each relay slot. The bytes between them are drawn in `wire` and `report_packets`. Neither side
ever waits for the other.
"""

from sidecar.handoff.inbox import Arrived, Begun, EndedUnrecorded, Inbox, InFlight, Lost, Reported
from sidecar.handoff.outbox import CaptureBudget, Outbox
from sidecar.handoff.report_packets import Progress, Round
from sidecar.handoff.reports import Reports
from sidecar.handoff.wire import MAX_PACKET_BYTES, WireError, pack_exchange, unpack_exchange

__all__ = [
    "MAX_PACKET_BYTES",
    "Arrived",
    "Begun",
    "CaptureBudget",
    "EndedUnrecorded",
    "InFlight",
    "Inbox",
    "Lost",
    "Outbox",
    "Progress",
    "Reported",
    "Reports",
    "Round",
    "WireError",
    "pack_exchange",
    "unpack_exchange",
]
