"""Books: what the recorder has settled, so that law 4 holds after any death.

Pure but for the counters row. The books are a note in the spool, written in the transaction of the records
they count. A recorder that is started again reads them and goes on; the first recorder of a new run closes
what an earlier run, whose relays are gone, left open.

The notes, msgpack:

    run        [run id, [settled number of each slot], {recorder counter: count}, {relay counter: count}]
    earlier    {"seen", "not_recorded", "shed", "dropped", "lost_crash": count over all closed runs}
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack

from sidecar.account import DROPPED, SHED
from sidecar.counters import RELAY_COUNTERS, Row

RUN: Final = b"run"
EARLIER: Final = b"earlier"
_COUNTED: Final = ("not_sampled_by_rule", *DROPPED, "lost_crash", "appended")
_EARLIER: Final = ("seen", "not_recorded", "shed", "dropped", "lost_crash")


@dataclass(slots=True)
class Books:
    """The recorder's counts of this run. Numbers are hand-over numbers, by slot."""

    run_id: bytes
    settled: list[int]
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTED, 0))
    # Sums over the relay slots, as of the latest note.
    relays: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RELAY_COUNTERS, 0))
    earlier: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_EARLIER, 0))

    @classmethod
    def open(cls, run_id: bytes, slots: int, notes: Mapping[bytes, bytes]) -> "Books":
        """The books of this run as the spool's notes tell them; those of an earlier run are closed."""
        earlier = dict.fromkeys(_EARLIER, 0)
        earlier.update(_read(notes.get(EARLIER), {}))
        known_run, settled, counts, relays = _read(notes.get(RUN), (b"", [], {}, {}))
        if known_run == run_id and len(settled) == slots:
            books = cls(run_id, list(settled), earlier=earlier)
            books.counts.update(counts)
            books.relays.update(relays)
            return books
        if known_run:
            _close(earlier, counts, relays)
        return cls(run_id, [0] * slots, earlier=earlier)

    def settle(self, slot: int, number: int) -> None:
        """Every hand-over of `slot` up to `number` is counted."""
        self.settled[slot] = number

    def count(self, name: str, more: int) -> None:
        """So many more appended, lost_crash, not_sampled_by_rule or dropped_*."""
        self.counts[name] += more

    def see(self, relays: Iterable[Mapping[str, int]]) -> None:
        """What the relays' rows of the counters page say now."""
        rows = list(relays)
        self.relays = {name: sum(row[name] for row in rows) for name in RELAY_COUNTERS}

    def notes(self) -> dict[bytes, bytes]:
        """The books as notes, for the transaction of the records that they count."""
        run = (self.run_id, self.settled, self.counts, self.relays)
        return {RUN: msgpack.packb(run), EARLIER: msgpack.packb(self.earlier)}

    def publish(self, row: Row) -> None:
        """Show the counts on the counters page."""
        for name, count in self.counts.items():
            row[name] = count
        for name, count in self.earlier.items():
            row[f"earlier_{name}"] = count


def _close(earlier: dict[str, int], counts: Mapping[str, int], relays: Mapping[str, int]) -> None:
    """Close the books of a run that is over: what was open or under way then is lost."""
    settled = sum(counts.values())
    shed = sum(relays.get(name, 0) for name in SHED)
    by_rule = counts.get("not_sampled_by_rule", 0)
    not_recorded = sum(relays.get(name, 0) for name in ("skipped", "opaque", "not_sampled"))
    # Numbers that were committed are surer than the page as it was seen a moment before.
    handed_over = max(relays.get("handed_over", 0), settled)
    seen = max(relays.get("seen", 0), not_recorded + shed + handed_over)
    earlier["seen"] += seen
    earlier["not_recorded"] += not_recorded + by_rule
    earlier["shed"] += seen - not_recorded - handed_over
    lost, appended = counts.get("lost_crash", 0), counts.get("appended", 0)
    earlier["dropped"] += settled - by_rule - lost - appended
    earlier["lost_crash"] += lost + handed_over - settled


def _read(packed: bytes | None, otherwise: Any) -> Any:
    if packed is None:
        return otherwise
    return msgpack.unpackb(packed, use_list=True)
