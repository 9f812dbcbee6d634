"""Logs: the Merkle logs that this run of storage writes, one for each tenant and ingest day. Pure.

A log's name is made at random by the run that writes it, so no two processes write one log, nothing is read
at start, and an archive that was put back from a backup begins new ones: what was signed of the old ones
stays true, and shows what the backup lacks. The trees are in memory only; an engine writes the rows of an
extension in the transaction of their records, and says afterwards that they are kept.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from infertap.verification import DELETION, GAP, NO_HASH, RECORD, Frontier, Leaf, LogId

# tenant, log, leaf_index, kind, spool_id, first, last, hash, reason
LeafRow = tuple[str, str, int, int, bytes, int, int, bytes, str]


class Loggable(Protocol):
    """An entry of an archive: a record has `hash`, a gap `last_hash` and `reason`."""

    @property
    def tenant(self) -> str: ...
    @property
    def spool_id(self) -> bytes: ...
    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Deleted:
    """A record that is about to be deleted."""

    tenant: str
    spool_id: bytes
    sequence: int
    hash: bytes
    reason: str


@dataclass(slots=True)
class Extension:
    """Leaves to be written, in the order of the table's columns; `keep` once they are durable."""

    rows: list[LeafRow]
    _logs: "TreeLogs"
    _grown: dict[LogId, Frontier] = field(default_factory=dict)

    def keep(self) -> None:
        """They are durable."""
        self._logs.take(self._grown)


class TreeLogs:
    """The logs of one run. One caller at a time extends and keeps; heads may be asked for from any thread."""

    def __init__(self, writer: str) -> None:
        """`writer`: 16 random hex digits, of this run."""
        self.writer = writer
        self._trees: dict[LogId, Frontier] = {}

    def extend(self, entries: Sequence[Loggable], day: str) -> Extension:
        """The leaves of entries that are new; `day` is "2026-11-21"."""
        return self._extend(((each.tenant, _leaf(each)) for each in entries), day)

    def extend_deletions(self, deleted: Iterable[Deleted], day: str) -> Extension:
        """The leaves that tell of deletions, on the day that they happen."""
        return self._extend(((each.tenant, _deletion(each)) for each in deleted), day)

    def _extend(self, leaves: "Iterable[tuple[str, Leaf]]", day: str) -> Extension:
        extension = Extension([], self)
        trees: dict[str, Frontier] = {}
        for tenant, leaf in leaves:
            tree = trees.get(tenant)
            if tree is None:
                tree = trees[tenant] = self._copy(LogId(tenant, day, self.writer))
            place = (tenant, self.writer, tree.size)
            extension.rows.append(
                (*place, leaf.kind, leaf.spool_id, leaf.first, leaf.last, leaf.hash, leaf.reason)
            )
            tree.append(leaf.hashed())
        extension._grown.update((LogId(tenant, day, self.writer), tree) for tenant, tree in trees.items())
        return extension

    def _copy(self, log: LogId) -> Frontier:
        known = self._trees.get(log)
        return Frontier() if known is None else known.copy()

    def take(self, grown: dict[LogId, Frontier]) -> None:
        """These trees are durable; whole ones, never changed again, take the place of shorter ones."""
        self._trees = {**self._trees, **grown}

    def heads(self) -> dict[LogId, tuple[int, bytes]]:
        """Size and root of each log."""
        return {log: (tree.size, tree.root()) for log, tree in self._trees.items()}

    def forget_before(self, day: str) -> None:
        """Logs of days before `day` grow no more: let go of their trees."""
        self._trees = {log: tree for log, tree in self._trees.items() if log.day >= day}


def _leaf(entry: Any) -> Leaf:
    hashed = getattr(entry, "hash", None)
    if hashed is not None:
        return Leaf(RECORD, entry.spool_id, entry.first, entry.last, hashed)
    return Leaf(GAP, entry.spool_id, entry.first, entry.last, entry.last_hash or NO_HASH, entry.reason)


def _deletion(deleted: Deleted) -> Leaf:
    return Leaf(DELETION, deleted.spool_id, deleted.sequence, deleted.sequence, deleted.hash, deleted.reason)
