"""What the tests of the tap stand on: a context with everything it touches in sight."""

import itertools
import re
from collections.abc import Callable

import pytest

from sidecar import config
from sidecar.counters import RELAY_COUNTERS, Row
from sidecar.exchange import Exchange
from sidecar.tap import ConnectionFacts, Tap, TapContext, TapSettings, sniffing


class Rig:
    """A tap context whose calls end up in `kept`, and a clock that ticks with each use."""

    def __init__(self, **settings: str) -> None:
        read = config.read({f"INFERTAP_{name.upper()}": value for name, value in settings.items()})
        self.row = Row(memoryview(bytearray(8 * len(RELAY_COUNTERS))).cast("q"), RELAY_COUNTERS)
        self.kept: list[Exchange] = []
        self.takes = True
        self.context = TapContext.make(
            TapSettings.of(read), self.row, self._hand_over, lambda size: b"\5" * size
        )
        self.budget = self.context.budget
        self.context.ledger.wall_offset_ns = 1_000_000
        self._clock = itertools.count(1)
        # Every id that was made, so that the lines that were added can be told.
        self.made: list[bytes] = []
        make = self.context.new_request_id
        self.context.new_request_id = lambda: self.made.append(make()) or self.made[-1]

    def _hand_over(self, call: Exchange) -> bool:
        self.budget.release(call)  # what the hand-off does once it has sent, or refused
        if self.takes:
            self.kept.append(call)
        return self.takes

    def now(self) -> int:
        """The next time: 1, 2, 3, ..."""
        return next(self._clock)

    def tap(self) -> Tap:
        """A tap for a new connection."""
        return sniffing(self.context, ConnectionFacts(3, "192.0.2.1:5", 0, 7))

    def added(self, index: int = -1) -> bytes:
        """The line that adds the made id of that index."""
        return b"x-request-id: " + self.made[index] + b"\r\n"

    def without_added(self, data: bytes) -> bytes:
        """`data` less every line that was added; what tests send themselves spells the name otherwise."""
        return re.sub(rb"x-request-id: [\x21-\x7e]{1,128}\r\n", b"", data)

    def count(self) -> dict[str, int]:
        """The counters that are not zero."""
        return {name: value for name, value in self.row.values().items() if value}

    def check_balance(self) -> None:
        """Law 4, first line, and the capture budget once all is over."""
        row = self.row
        sheds = sum(value for name, value in row.values().items() if name.startswith("shed_"))
        terms = ("open", "skipped", "opaque", "not_sampled", "handed_over")
        assert row["seen"] == sheds + sum(row[name] for name in terms)
        assert row["handed_over"] == len(self.kept)
        if row["open"] == 0:
            assert self.budget.used == 0


@pytest.fixture(scope="session")
def make_rig() -> Callable[..., Rig]:
    """Makes a rig from settings: `make_rig(sample_rate="0.1")`."""
    return Rig
