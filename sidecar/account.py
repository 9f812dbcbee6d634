"""Account: law 4, computed from the counters page. Pure.

    seen = open + skipped + opaque + not_sampled + shed + handed_over                  calls, in the relays
    handed_over = in_transit + not_sampled_by_rule + dropped + lost_crash + appended   on the way to the spool
    earlier_appended + appended =
        pending + acked + evicted_unacked + dead_lettered + corrupt + expired          in the spool
    earlier_seen = not_recorded + shed + dropped + lost_crash + appended               runs that are over

The first two lines count this run of the sidecar, the third all runs that used the spool, the last those that
are over, as far as the spool knows them. `in_transit` is what the recorder has not settled yet. At rest, with
nothing open or in transit, all hold exactly; while calls pass, the numbers are read one by one, and may be
apart by what passed meanwhile.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sidecar.counters import RECORDER_COUNTERS, RELAY_COUNTERS, Row

SHED: Final = tuple(name for name in RELAY_COUNTERS if name.startswith("shed_"))
DROPPED: Final = tuple(name for name in RECORDER_COUNTERS if name.startswith("dropped_"))
# Where a call that was seen can be, but for open.
SETTLED: Final = ("skipped", "opaque", "not_sampled", *SHED, "handed_over")
EARLIER: Final = ("not_recorded", "shed", "dropped", "lost_crash", "appended")
IN_SPOOL: Final = ("pending", "acked", "evicted_unacked", "dead_lettered", "corrupt", "expired")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the account: `total` is the sum of `terms` where it is balanced."""

    name: str
    total: int
    terms: dict[str, int]

    @property
    def balanced(self) -> bool:
        """The terms make up the total, and none is below zero."""
        return self.total == sum(self.terms.values()) and all(count >= 0 for count in self.terms.values())

    def as_json(self) -> dict[str, object]:
        """The line as people get it from /account."""
        return {self.name: self.total, **self.terms, "balanced": self.balanced}


@dataclass(frozen=True, slots=True)
class Account:
    """The four lines."""

    calls: Line
    hand_over: Line
    spool: Line
    earlier: Line

    @property
    def balanced(self) -> bool:
        """All lines are."""
        return all(line.balanced for line in (self.calls, self.hand_over, self.spool, self.earlier))

    def as_json(self) -> dict[str, object]:
        """The account as people get it from /account."""
        return {
            "calls": self.calls.as_json(),
            "hand_over": self.hand_over.as_json(),
            "spool": self.spool.as_json(),
            "earlier": self.earlier.as_json(),
            "balanced": self.balanced,
        }


def terms(account: Account) -> dict[str, int]:
    """The terms of the first two lines, what was shed and dropped each as one: for storage to keep."""
    calls, hand_over = account.calls, account.hand_over
    told = {calls.name: calls.total, **calls.terms, **hand_over.terms}
    shed, dropped = sum(told.pop(name) for name in SHED), sum(told.pop(name) for name in DROPPED)
    return told | {"shed": shed, "dropped": dropped}


def draw_up(relays: Iterable[Mapping[str, int]], recorder: Mapping[str, int]) -> Account:
    """The account from the rows of all relay slots, and of the recorder, by counter name."""
    summed = dict.fromkeys(RELAY_COUNTERS, 0)
    for row in relays:
        for name in RELAY_COUNTERS:
            summed[name] += row[name]
    arrived = {name: recorder[name] for name in ("not_sampled_by_rule", *DROPPED, "lost_crash", "appended")}
    in_transit = summed["handed_over"] - sum(arrived.values())
    return Account(
        calls=Line("seen", summed["seen"], {name: summed[name] for name in ("open", *SETTLED)}),
        hand_over=Line("handed_over", summed["handed_over"], {"in_transit": in_transit} | arrived),
        spool=Line(
            "appended_ever",
            recorder["earlier_appended"] + recorder["appended"],
            {name: recorder[name] for name in IN_SPOOL},
        ),
        earlier=Line(
            "seen", recorder["earlier_seen"], {name: recorder[f"earlier_{name}"] for name in EARLIER}
        ),
    )


def close_books(row: Row) -> int:
    """Close the books of a relay that was killed: what it had open is lost. Returns how many calls that are.

    The successor calls it before it counts anything. By difference, not from `open`: the predecessor may have
    died between two counts of one call.
    """
    lost = row["seen"] - sum(row[name] for name in SETTLED)
    if lost < 0:
        # Died after it counted the end of a call and before `seen`: then the call was seen.
        row.add("seen", -lost)
        lost = 0
    row.add("shed_relay_lost", lost)
    row["open"] = 0
    row["connections_open"] = 0
    row["accepting"] = 0
    return lost
