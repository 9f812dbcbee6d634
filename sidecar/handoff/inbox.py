"""Inbox: what one relay slot sends, put together again. The recorder's side of the hand-off, without the
socket.

Pure: packets in, arrivals and losses out. It promises that every number of the slot is told exactly once, as
`Arrived` or inside a `Lost`, in rising order, and that it holds at most `max_exchange_bytes` of an exchange
that is not yet complete. A packet that can't be read is counted in `faults`; its numbers become a `Lost` as
soon as a later packet shows the hole. What it tells of calls in flight has no numbers, and no promise.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sidecar.exchange import Exchange
from sidecar.handoff import report_packets, wire
from sidecar.handoff.report_packets import Round


@dataclass(frozen=True, slots=True)
class Arrived:
    """A call, with its hand-over number in the slot."""

    slot: int
    number: int
    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Lost:
    """Hand-overs `first` to `last` of the slot, both included, never arrived."""

    slot: int
    first: int
    last: int

    @property
    def count(self) -> int:
        """How many hand-overs were lost."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Begun:
    """A relay has begun: what the slot had in flight before is lost."""


@dataclass(frozen=True, slots=True)
class Reported:
    """Calls in flight, without their bodies."""

    calls: list[Exchange]


@dataclass(frozen=True, slots=True)
class EndedUnrecorded:
    """Calls, by their numbers in the slot, that were reported and will have no record."""

    call_numbers: list[int]


InFlight = Begun | Reported | Round | EndedUnrecorded


class Inbox:
    """The receiving end of one slot."""

    def __init__(self, slot: int, last_number: int, max_exchange_bytes: int = 256 << 20) -> None:
        """`last_number` is the highest number of the slot that this run has settled already, 0 at first."""
        self.slot = slot
        self.last_number = last_number
        self.faults = 0
        self._max_exchange_bytes = max_exchange_bytes
        self._parts: list[bytes] = []
        self._parts_number = 0
        self._parts_bytes = 0

    def take_in_flight(self, packet: bytes) -> InFlight | None:
        """What one packet tells of calls in flight; None where it tells of hand-overs, which are for `take`.

        Never raises on bad bytes.
        """
        read = _IN_FLIGHT.get(packet[0]) if packet else None
        if read is None:
            return None
        try:
            return read(packet)
        except wire.WireError:
            self.faults += 1
            return Reported([])

    def take(self, packet: bytes) -> list[Arrived | Lost]:
        """What one packet tells, in the order of the numbers; never raises on bad bytes."""
        try:
            kind, number = wire.read_numbered(packet)
            if kind == wire.PART:
                return list(self._part(number, packet))
            self._forget_parts()
            if kind == wire.BATCH:
                return list(self._batch(number, wire.read_batch(packet)))
            return list(self._lost_up_to(number))
        except wire.WireError:
            self.faults += 1
            self._forget_parts()
            return []

    def _batch(self, first: int, calls: list[Exchange]) -> Iterator[Arrived | Lost]:
        for number, call in enumerate(calls, first):
            yield from self._arrived(number, call)

    def _arrived(self, number: int, call: Exchange) -> Iterator[Arrived | Lost]:
        if number > self.last_number:  # else it is settled: told again would be counted twice
            yield from self._lost_up_to(number - 1)
            self.last_number = number
            yield Arrived(self.slot, number, call)

    def _lost_up_to(self, number: int) -> Iterator[Lost]:
        if number > self.last_number:
            yield Lost(self.slot, self.last_number + 1, number)
            self.last_number = number

    def _part(self, number: int, packet: bytes) -> Iterator[Arrived | Lost]:
        index, count, piece = wire.read_part(packet)
        if index == 0:
            self._forget_parts()
            self._parts_number = number
        if number != self._parts_number or index != len(self._parts):
            raise wire.WireError("part out of order")
        self._parts.append(piece)
        self._parts_bytes += len(piece)
        if self._parts_bytes > self._max_exchange_bytes:
            raise wire.WireError("exchange is too big")
        if index + 1 == count:
            packed = b"".join(self._parts)
            self._forget_parts()
            yield from self._arrived(number, wire.unpack_exchange(packed))

    def _forget_parts(self) -> None:
        self._parts = []
        self._parts_number = 0
        self._parts_bytes = 0


_IN_FLIGHT: Final[Mapping[int, Callable[[bytes], InFlight]]] = {
    report_packets.BEGUN: lambda _: Begun(),
    report_packets.REPORT: lambda packet: Reported(report_packets.read_report(packet)),
    report_packets.PROGRESS: report_packets.read_progress,
    report_packets.ENDED: lambda packet: EndedUnrecorded(report_packets.read_ended(packet)),
}
