"""Gathering: reads what was stored after a place into a batch. Blocks on the archive; for a thread."""

from dataclasses import dataclass, field
from typing import Final

from infertap import v1
from infertap.query import Query
from storage.archive import Archive, Arrival, Interrupt, Stored
from storage.sinks.sinks_file import Limits

# Read at once, and looked at in one step: where a filter wants few, what it passed over is kept now and then.
_STEP_RECORDS: Final = 1000
_STEP_BYTES: Final = 8 << 20
_MOST_LOOKED_AT: Final = 5000


@dataclass(slots=True)
class Gathered:
    """Records that are wanted, of all that were stored up to `at`."""

    at: Arrival
    records: list[v1.Record] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    size_bytes: int = 0
    passed_over: int = 0
    # No more fit, or it has come as far as it was to; else there is no more yet.
    is_full: bool = False

    @property
    def first_ns(self) -> int | None:
        """When the first of them was stored."""
        return self.arrivals[0].stored_ns if self.arrivals else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records go into a batch, and how many."""

    query: Query
    limits: Limits
    # A batch that was begun before ends here, whatever the limits.
    until: Arrival | None = None


def gather(archive: Archive, wanted: Wanted, into: Gathered, interrupt: Interrupt) -> bool:
    """Read on behind `into.at`; whether there was anything. Raises ArchiveError."""
    looked_at = 0
    while not into.is_full and looked_at < _MOST_LOOKED_AT:
        room = min(max(wanted.limits.bytes - into.size_bytes, 1), _STEP_BYTES)
        found = archive.arrivals(into.at, _STEP_RECORDS, room, interrupt)
        if not found:
            into.is_full = wanted.until is not None
            break
        looked_at += len(found)
        into.is_full = not all(_take(stored, wanted, into) for stored in found)
    return looked_at > 0


def _take(stored: Stored, wanted: Wanted, into: Gathered) -> bool:
    """Take the next one, if it fits; whether more may."""
    limits, until = wanted.limits, wanted.until
    if until is not None and stored.arrival > until:
        return False
    record, size = stored.served(), len(stored.record)
    if not wanted.query.matches(record):
        into.passed_over += 1
        into.at = stored.arrival
        return True
    if until is None and into.records and into.size_bytes + size > limits.bytes:
        return False
    into.records.append(record)
    into.arrivals.append(stored.arrival)
    into.size_bytes += size
    into.at = stored.arrival
    return until is not None or (len(into.records) < limits.records and into.size_bytes < limits.bytes)
