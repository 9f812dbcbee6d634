"""Ledger: opens and settles calls, so that each is in exactly one term of law 4.

Pure but for the counters row it writes. After every method,
`seen = open + skipped + opaque + not_sampled + shed_* + handed_over`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final
from typing import Protocol as Interface

from sidecar.counters import Row
from sidecar.exchange import Body, EndedBy, Exchange, Protocol
from sidecar.tap.capture import BUDGET_SPENT, PIECE_TIME_BYTES, CaptureBudget
from sidecar.tap.connection_facts import ConnectionFacts
from sidecar.tap.sampling import Sampling

SEGMENT_AFTER_NS: Final = 300_000_000_000


class Reports(Interface):
    """Who tells the recorder of calls in flight. Nothing here waits, or raises."""

    def begin(self, call: Exchange) -> bool:
        """Tell of `call` from now on, until `end`; False where no more can be told of now."""

    def go_on(self, call: Exchange) -> None:
        """`call` stands in the place of the one with its number: another segment of the same."""

    def end(self, call: Exchange, is_recorded: bool) -> None:
        """`call`, which was told of, is over; its record will say so, or, without one, the report."""


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
        "_reports",
        "_sampling",
        "_seen",
        "_segment_after_ns",
        "_segments",
        "_shed_fault",
        "_shed_full",
        "_shed_streams",
        "_skipped",
        "row",
        "wall_offset_ns",
    )

    def __init__(
        self,
        row: Row,
        budget: CaptureBudget,
        sampling: Sampling,
        hand_over: Callable[[Exchange], bool],
        *,
        reports: Reports | None = None,
        segment_after_ns: int = SEGMENT_AFTER_NS,
    ) -> None:
        self.row = row
        # Wall clock less monotonic clock, nanoseconds; the relay keeps it right.
        self.wall_offset_ns = 0
        self._budget = budget
        self._sampling = sampling
        self._hand_over = hand_over
        self._reports = reports
        self._segment_after_ns = segment_after_ns
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
        self._shed_streams = index["shed_open_streams"]
        self._bodies_cut = index["bodies_cut"]
        self._segments = index["segments"]

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
            facts.client_address,
            facts.accepted,
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
        times = len(call.request.piece_times) + len(call.response.piece_times)
        budget.used -= PIECE_TIME_BYTES * times  # `release_times`, without a call
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
            if call.is_reported:
                self._end_report(call, outcome == self._handed_over)

    def report(self, call: Exchange, now: int) -> None:  # noqa: ARG002
        """`call` has been open for long: from now on the recorder is told of it. Harmless where it is."""
        if not call.is_reported and self._reports is not None:
            call.is_reported = self._reports.begin(call)

    def _end_report(self, call: Exchange, is_recorded: bool) -> None:
        if self._reports is not None:
            self._reports.end(call, is_recorded)

    def next_segment(self, call: Exchange, now: int) -> Exchange:
        """`call` has been open for very long: what it has so far becomes a record, a segment of the call; the
        exchange to go on with. That is `call` itself where its segment is not over, or nothing passed in it.

        Each segment is counted as a call (`seen`, and `segments` beside it): law 4 counts records to come.
        """
        since = call.started if call.segment_started < 0 else call.segment_started
        if now - since < self._segment_after_ns:
            return call
        if call.segment and not call.request.size and not call.response.size:
            call.segment_started = now
            return call
        ended, is_reported = call.ended, call.is_reported
        call.is_continued, call.is_reported = True, False  # the report goes on with what follows
        cells = self._cells
        cells[self._seen] += 1
        cells[self._open] += 1
        cells[self._segments] += 1
        self.settle(call, EndedBy.OPEN, now)
        following = _following(call, ended, now)
        following.is_reported = is_reported
        if is_reported and self._reports is not None:
            self._reports.go_on(following)
        return following

    def shed_fault(self, call: Exchange) -> None:
        """An open `call` will have no record, as its tap failed."""
        self._shed(call, self._shed_fault)

    def shed_stream(self, call: Exchange) -> None:
        """An open `call` will have no record, as the open streams of its connection weigh too much."""
        self._shed(call, self._shed_streams)

    def _shed(self, call: Exchange, reason: int) -> None:
        self._cells[self._open] -= 1
        self._cells[reason] += 1
        self._budget.release_times(call)
        self._budget.release(call)
        if call.is_reported:
            self._end_report(call, False)

    def skip(self) -> None:
        """A call that the settings never record."""
        self._cells[self._seen] += 1
        self._cells[self._skipped] += 1

    def unfollowed(self) -> None:
        """From here a connection is relayed without being followed, and without a record."""
        self._cells[self._seen] += 1
        self._cells[self._opaque] += 1


def _following(call: Exchange, ended: int, now: int) -> Exchange:
    """What `call` goes on as: the same call, with nothing captured."""
    return replace(
        call,
        segment=call.segment + 1,
        segment_started=now,
        ended=ended,
        is_continued=False,
        flags=[flag for flag in call.flags if flag != BUDGET_SPENT],
        request=Body(),
        response=Body(),
    )
