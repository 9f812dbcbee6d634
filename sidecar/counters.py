"""The counters page: numbers that outlive the process that counts.

The parent makes one page of anonymous shared memory (memfd) and hands its descriptor to every child. Each
relay slot, and the recorder, owns a row of 8-byte native integers in it and is the only writer of that row;
anyone may read. When a relay is killed its row stays, and its successor counts on.

    row 0                recorder          names in RECORDER_COUNTERS
    row 1 + slot         relay slot        names in RELAY_COUNTERS

Memory only, never a file: a page of a mapped file can block its writer while the kernel writes it back, and
traffic waits for no disk (law 1).

Law 4, in the words of this page:

    seen = open + skipped + opaque + not_sampled + shed_* + handed_over            (summed over the relays)
    handed_over = in_transit + not_sampled_by_rule + dropped_* + lost_crash + appended    (relays = recorder)
    earlier_appended + appended =
        pending + acked + evicted_unacked + dead_lettered + corrupt + expired      (inside the spool, all
        runs)
    earlier_seen = earlier_not_recorded + earlier_shed + earlier_dropped
        + earlier_lost_crash + earlier_appended                                    (runs that are over)
"""

import mmap
import os
from collections.abc import Iterable
from typing import Final

RELAY_COUNTERS: Final = (
    # -- law 4
    "seen",
    "open",
    "skipped",
    "opaque",
    "not_sampled",
    "shed_handoff_full",
    "shed_recorder_off",
    "shed_tap_fault",
    "shed_open_streams",
    "shed_relay_lost",
    "handed_over",
    # -- beside it
    "connections",
    "connections_open",
    "upstream_refused",
    "tls_handshakes_failed",
    "opaque_connections",
    "framing_ambiguous",
    "heads_too_large",
    "too_many_unanswered",
    "tap_faults",
    "id_not_added",
    "bodies_cut",
    "bytes_from_client",
    "bytes_from_model",
    "segments",
    "accepting",
    "connections_refused",
    "budget_exceeded",
    "head_too_slow",
    "state_budget_spent",
    "accepting_paused",
    "handshakes_dropped",
    "not_redirected",
    "model_wait_ns",
    "state_bytes",
    "loop_lag_ns",
    "loop_lag_max_ns",
)

RECORDER_COUNTERS: Final = (
    # -- law 4, second line
    "not_sampled_by_rule",
    "dropped_record_too_large",
    "dropped_spool_failed",
    "dropped_recorder_fault",
    "lost_crash",
    "appended",
    # -- law 4, third line: the spool's own account, over all runs; `earlier_appended` is before this run
    "earlier_appended",
    # -- law 4 over all runs that are over: earlier_seen = these and earlier_appended
    "earlier_seen",
    "earlier_not_recorded",
    "earlier_shed",
    "earlier_dropped",
    "earlier_lost_crash",
    "pending",
    "acked",
    "evicted_unacked",
    "dead_lettered",
    "corrupt",
    "expired",
    # -- beside it
    "spool_bytes",
    "spool_quota_bytes",
    "next_sequence",
    "redactions",
    "bodies_withheld",
    "storage_connected",
    "storage_batches_sent",
    "storage_reconnects",
    "in_flight",
    "in_flight_dropped",
    "started_monotonic_ns",
    "heartbeat_monotonic_ns",
)

_ROW_COUNTERS = 64
_ROW_BYTES = _ROW_COUNTERS * 8
assert len(RELAY_COUNTERS) <= _ROW_COUNTERS
assert len(RECORDER_COUNTERS) <= _ROW_COUNTERS


class Row:
    """One owner's counters. On the hot path: `row.cells[n] += 1`, with `n = row.index["seen"]` taken once."""

    __slots__ = ("cells", "index")

    def __init__(self, cells: "memoryview[int]", names: Iterable[str]) -> None:
        self.cells = cells
        self.index = {name: position for position, name in enumerate(names)}

    def __getitem__(self, name: str) -> int:
        return self.cells[self.index[name]]

    def __setitem__(self, name: str, value: int) -> None:
        self.cells[self.index[name]] = value

    def add(self, name: str, count: int = 1) -> None:
        self.cells[self.index[name]] += count

    def values(self) -> dict[str, int]:
        """A copy of all counters by name."""
        return {name: self.cells[position] for name, position in self.index.items()}


class CounterPage:
    """The whole page, mapped."""

    def __init__(self, descriptor: int, slots: int) -> None:
        """Map a page made by `create`; `slots` must be the number it was made with."""
        self.descriptor = descriptor
        self.slots = slots
        self._map = mmap.mmap(descriptor, (1 + slots) * _ROW_BYTES)
        self._cells = memoryview(self._map).cast("q")

    @classmethod
    def create(cls, slots: int) -> "CounterPage":
        """A new page, all zero; its descriptor must be passed to children by number."""
        descriptor = os.memfd_create("infertap-counters", 0)
        os.ftruncate(descriptor, (1 + slots) * _ROW_BYTES)
        return cls(descriptor, slots)

    def recorder(self) -> Row:
        return Row(self._row(0), RECORDER_COUNTERS)

    def relay(self, slot: int) -> Row:
        return Row(self._row(1 + slot), RELAY_COUNTERS)

    def _row(self, number: int) -> "memoryview[int]":
        return self._cells[number * _ROW_COUNTERS : (number + 1) * _ROW_COUNTERS]
