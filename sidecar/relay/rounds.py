"""Rounds: what is done for every connection about once a second, without holding anything up.

Touches the event loop's timers. It promises: a round is spread over turns of the loop, TURN connections each,
so that 10,000 of them delay nobody; each connection's tap is told the time and asked what it weighs; where
all of them weigh more than the budget, the heaviest are given up until they no longer do (law 5). It also
measures the loop's lag: how late the timer of a round is served.
"""

import asyncio
import heapq
from collections.abc import Callable
from time import monotonic_ns
from typing import Final

from sidecar.relay.connection import Connection
from sidecar.relay.traffic import Traffic

TURN: Final = 200
ROUND_SECONDS: Final = 1.0
# Where the taps weigh more than half of what they may, looks come more often: much can come in a second.
_HURRIED_SECONDS: Final = 0.1
# What weighs less is never worth giving up.
_LIGHT: Final = 4096


class Rounds:
    """The rounds of one relay."""

    def __init__(self, traffic: Traffic, budget_bytes: int, after_round: Callable[[], None]) -> None:
        """`budget_bytes` is what all taps may weigh; `after_round` is called when one is over."""
        self._traffic = traffic
        self._budget = budget_bytes
        self._after_round = after_round
        self._loop = asyncio.get_running_loop()
        self._left: list[Connection] = []
        self._heavy: list[tuple[int, int, Connection]] = []
        self._weight = 0
        self._due = 0

    def start(self) -> None:
        """Begin, and go on for as long as the loop runs."""
        self._plan(ROUND_SECONDS)

    def _plan(self, seconds: float) -> None:
        self._due = monotonic_ns() + int(seconds * 1e9)
        self._loop.call_later(seconds, self._begin)

    def _begin(self) -> None:
        now = monotonic_ns()
        self._note_lag(max(0, now - self._due))
        self._traffic.relax()
        self._left = list(self._traffic.connections)
        self._heavy = []
        self._weight = 0
        self._turn()

    def _note_lag(self, lag: int) -> None:
        row = self._traffic.row
        row["loop_lag_ns"] = lag
        row["loop_lag_max_ns"] = max(lag, row["loop_lag_max_ns"])

    def _turn(self) -> None:
        now = monotonic_ns()
        turn = self._left[-TURN:]
        del self._left[-TURN:]
        for connection in turn:
            connection.read_in_pieces(small=self._traffic.is_scarce)
            weight = connection.tick(now)
            self._weight += weight
            if weight > _LIGHT:
                self._heavy.append((-weight, id(connection), connection))
        if self._left:
            self._loop.call_soon(self._turn)
        else:
            self._end(now)

    def _end(self, now: int) -> None:
        if self._weight > self._budget:
            self._give_up_the_heaviest(now)
        self._heavy = []
        self._traffic.row["state_bytes"] = self._weight
        self._after_round()
        self._plan(_HURRIED_SECONDS if self._weight > self._budget // 2 else ROUND_SECONDS)

    def _give_up_the_heaviest(self, now: int) -> None:
        heapq.heapify(self._heavy)
        while self._heavy and self._weight > self._budget:
            weight, _, connection = heapq.heappop(self._heavy)
            connection.give_up("state_budget_spent", now)
            self._weight += weight  # negative
