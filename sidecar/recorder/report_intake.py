"""Report intake: what relays tell of calls in flight, redacted, into the table.

Runs in the pipeline's thread; `now` is the monotonic clock. It promises: nothing raw gets into the table (law
3), and a call that the table knows, or has no room for, costs no redaction.
"""

from sidecar.counters import Row
from sidecar.exchange import Exchange
from sidecar.handoff import Begun, EndedUnrecorded, Reported
from sidecar.handoff import InFlight as Told
from sidecar.in_flight import InFlight
from sidecar.recorder.conversion import Conversion


class ReportIntake:
    """Takes what all slots tell."""

    def __init__(self, table: InFlight, conversion: Conversion, row: Row) -> None:
        self._table = table
        self._conversion = conversion
        self._row = row

    def take(self, slot: int, told: Told, now: int) -> None:
        """What one packet told."""
        match told:
            case Reported():
                for call in told.calls:
                    self._add(slot, call)
            case EndedUnrecorded():
                self._table.end((slot, number) for number in told.call_numbers)
            case Begun():
                self._table.lose(slot, now)
            case _:
                self._table.progress(slot, told)
        self._row["in_flight"] = len(self._table)

    def _add(self, slot: int, call: Exchange) -> None:
        if (slot, call.call_number) in self._table:
            return
        if not self._table.has_room or not self._table.add(
            slot, call.call_number, self._conversion.in_flight(slot, call)
        ):
            self._row.add("in_flight_dropped")
