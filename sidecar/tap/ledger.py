"""Ledger: opens and settles calls, so that each is in exactly one term of law 4.

Pure but for the counters row it writes. After every method,
`seen = open + skipped + opaque + not_sampled + shed_* + handed_over`.
"""

from collections.abc import Callable

from sidecar.counters import Row
from sidecar.exchange import EndedBy, Exchange, Protocol
from sidecar.tap.capture import CaptureBudget
from sidecar.tap.connection_facts import ConnectionFacts
from sidecar.tap.sampling import Sampling


class Ledger:
    """The account of one relay process's calls."""

    __slots__ = (
        "_bodies_cut",
        "_budget",
        "_cells",
        "_hand_over",
        "_handed_over",
        "_not_sampled",
        "_opaque",
        "_open",
        "_sampling",
        "_seen",
        "_shed_fault",
        "_shed_full",
        "_skipped",
        "row",
        "wall_offset_ns",
    )

    def __init__(
        self, row: Row, budget: CaptureBudget, sampling: Sampling, hand_over: Callable[[Exchange], bool]
    ) -> None:
        self.row = row
        # Wall clock less monotonic clock, nanoseconds; the relay keeps it right.
        self.wall_offset_ns = 0
        self._budget = budget
        self._sampling = sampling
        self._hand_over = hand_over
        self._cells = row.cells
        index = row.index
        self._seen = index["seen"]
        self._open = index["open"]
        self._skipped = index["skipped"]
        self._opaque = index["opaque"]
        self._not_sampled = index["not_sampled"]
        self._handed_over = index["handed_over"]
        self._shed_full = index["shed_handoff_full"]
        self._shed_fault = index["shed_tap_fault"]
        self._bodies_cut = index["bodies_cut"]

    def open(self, protocol: Protocol, facts: ConnectionFacts, now: int) -> Exchange:
        """A call has begun: counted as open, and to be settled or shed exactly once."""
        cells = self._cells
        cells[self._seen] = number = cells[self._seen] + 1
        cells[self._open] += 1
        return Exchange(
            number,
            facts.route,
            protocol,
            now,
            now + self.wall_offset_ns,
            facts.upstream_connected,
            client_address=facts.client_address,
        )

    def settle(self, call: Exchange, by: EndedBy, now: int) -> None:
        """`call` has ended: keep it and hand it over, or not. Nobody changes it afterwards.

        `call.ended` is left as it is where the tap set it (a response that ended before its request did).
        """
        cells = self._cells
        cells[self._open] -= 1
        call.ended_by = by
        if call.ended < 0:
            call.ended = now
        budget = self._budget
        budget.release_times(call)
        if budget.cut:
            cells[self._bodies_cut] += budget.cut
            budget.cut = 0
        outcome = self._shed_fault  # stands where what follows raises
        try:
            if not self._sampling.keeps(call):
                outcome = self._not_sampled
                budget.release(call)
            elif self._hand_over(call):
                outcome = self._handed_over
            else:
                outcome = self._shed_full
        finally:
            cells[outcome] += 1

    def report(self, call: Exchange, now: int) -> None:
        """`call` has been open for long: the recorder is told of it, or of how far it has come since."""

    def next_segment(self, call: Exchange, now: int) -> Exchange:  # noqa: ARG002
        """`call` has been open for very long: what it has so far is a record; the exchange to go on with.

        Each segment is counted as a call (`seen`, and `segments` beside it): law 4 counts records to come.
        """
        return call

    def shed_fault(self, call: Exchange) -> None:
        """An open `call` will have no record, as its tap failed."""
        self._cells[self._open] -= 1
        self._cells[self._shed_fault] += 1
        self._budget.release_times(call)
        self._budget.release(call)

    def skip(self) -> None:
        """A call that the settings never record."""
        self._cells[self._seen] += 1
        self._cells[self._skipped] += 1

    def unfollowed(self) -> None:
        """From here a connection is relayed without being followed, and without a record."""
        self._cells[self._seen] += 1
        self._cells[self._opaque] += 1
