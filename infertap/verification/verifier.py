"""Verifier: holds an export against what was signed, entry by entry. Touches its ledger's file only.

Logs come one after the other, each in order; that is what the trees need. The chains of spools cross logs and
days, and are followed at the end. What it tells apart:

- a record whose bytes don't give its leaf's hash was **edited**; or **reordered**, where it is the record of
  another sequence;
- a leaf without record or tombstone: **deleted**; a tombstone whose deletion no leaf tells of: forged;
- a record without a leaf, or a second one: **inserted**;
- leaves that don't give the signed root: the **log was changed**, between the last head that holds and the
  first that does not; fewer leaves than signed: **cut short**; a signed log that isn't there: **missing**;
- two records with one sequence: **forked**; a record that doesn't follow the one before: **chain broken**;
- sequences of which nothing is known: **missing**, unless logs that are not looked at may tell of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from infertap.verification.entries import Envelope, LoggedEntry, Tombstone
from infertap.verification.heads import SignedHeads
from infertap.verification.leaves import GAP, KINDS, NO_HASH, RECORD, Leaf, LogId, record_hash
from infertap.verification.ledger import Ledger, Row
from infertap.verification.merkle import Frontier
from infertap.verification.report import Finding, Report, Wrong

# Records that are not what their leaf says are kept until the end, to see whose they are: so many, and bytes.
_MOST_ODD: Final = 1000
_MOST_ODD_BYTES: Final = 32 << 20


@dataclass(slots=True)
class _Log:
    """The log that is being read."""

    log: LogId
    tree: Frontier
    # Leaves up to the last signed head that holds; whether a later one did not.
    good: int = 0
    is_changed: bool = False
    # The first leaf beyond it.
    suspect: Leaf | None = None
    last_index: int = -1


class Verifier:
    """One verification: give it everything, then ask for the end."""

    def __init__(
        self,
        heads: SignedHeads,
        report: Report,
        ledger: Ledger,
        covers: Callable[[LogId], bool] = lambda _: True,
        tenant: str | None = None,
    ) -> None:
        """`covers`: whether a log should be among what is given; `tenant`: whose logs alone these are, of
        all tenants without it. The report says what is wrong.
        """
        self._heads = heads
        self._report = report
        self._ledger = ledger
        self._covers = covers
        self._tenant = tenant
        report.signed_until_ns = heads.until_ns
        self._log: _Log | None = None
        self._met: set[LogId] = set()
        self._odd: list[tuple[Leaf, Envelope]] = []
        self._odd_bytes = 0
        self._unsigned = self._unlogged = 0

    # -- entries as they come

    def begin(self, log: LogId) -> None:
        """The entries from here on are of this log."""
        self._end_log()
        if log.log:
            self._met.add(log)
            self._report.seen["logs"] += 1
            self._report.tenants.add(log.tenant)
            self._report.days.add(log.day)
            if self._tenant not in (None, log.tenant):
                self._report.add(Finding(Wrong.ANOTHER_TENANT, str(log)))
            self._log = _Log(log, Frontier())

    def take(self, entry: LoggedEntry) -> None:
        """One entry."""
        if entry.index is None or self._log is None:
            self._take_unlogged(entry)
            return
        if entry.index == self._log.last_index:
            self._wrong(Wrong.INSERTED, entry.leaf, "a second row")
            return
        if entry.index != self._log.last_index + 1:
            self._wrong(Wrong.LOG_CHANGED, entry.leaf, f"{self._log.log}: leaves are missing before it")
        self._log.last_index = entry.index
        self._hash(self._log, entry.leaf)
        self._look_at(entry)

    def _hash(self, log: _Log, leaf: Leaf) -> None:
        if log.tree.size == log.good and log.suspect is None:
            log.suspect = leaf
        log.tree.append(leaf.hashed())
        signed = self._heads.roots.get(log.log, {}).get(log.tree.size)
        if signed is None or log.is_changed:
            return
        if log.tree.root() == signed:
            log.good, log.suspect = log.tree.size, None
            return
        log.is_changed = True
        detail = f"{log.log}: leaves {log.good} to {log.tree.size - 1} are not those that were signed"
        self._wrong(Wrong.LOG_CHANGED, log.suspect or leaf, f"{detail}; this is the first of them")

    def _look_at(self, entry: LoggedEntry) -> None:
        leaf, found = entry.leaf, entry.found
        self._report.seen[f"{KINDS[leaf.kind]}s"] += 1
        if leaf.kind != RECORD:
            self._ledger.note(leaf, None)
            return
        if isinstance(found, Envelope):
            is_whole = record_hash(found.previous_hash, leaf.first, found.salt, found.record) == leaf.hash
            self._ledger.note(leaf, found.previous_hash if is_whole else None)
            if not is_whole:
                self._take_odd(leaf, found)
        elif isinstance(found, Tombstone):
            self._report.seen["tombstones"] += 1
            self._ledger.note(leaf, found.previous_hash)
            self._ledger.note_tombstone(leaf)
        else:
            self._ledger.note(leaf, None)
            self._wrong(Wrong.DELETED, leaf, "")

    def _take_odd(self, leaf: Leaf, found: Envelope) -> None:
        self._odd_bytes += len(found.record)
        if len(self._odd) < _MOST_ODD and self._odd_bytes <= _MOST_ODD_BYTES:
            self._odd.append((leaf, found))
        else:
            self._wrong(Wrong.EDITED, leaf, "")

    def _take_unlogged(self, entry: LoggedEntry) -> None:
        began = self._heads.began_ns
        if began is None or entry.stored_ns < began:
            self._unlogged += 1
        else:
            self._wrong(Wrong.INSERTED, entry.leaf, "no leaf tells of it")

    # -- the end

    def end(self) -> None:
        """Everything was given."""
        self._end_log()
        self._look_for_logs()
        self._ledger.close_books()
        for leaf, found in self._odd:
            self._judge(leaf, found)
        for spool_id, sequence in self._ledger.forged():
            self._report.add(Finding(Wrong.FORGED_TOMBSTONE, "", spool_id, sequence, sequence))
        self._follow_chains()
        self._say_what_is_untold()

    def _end_log(self) -> None:
        log, self._log = self._log, None
        if log is None:
            return
        signed = self._heads.size(log.log)
        if log.tree.size < signed:
            detail = f"{log.log}: {signed} leaves were signed, and {log.tree.size} are here"
            self._report.add(Finding(Wrong.LOG_CUT, detail))
        self._unsigned += max(log.tree.size - signed, 0)

    def _look_for_logs(self) -> None:
        for log in self._heads.roots.keys() - self._met - self._heads.dropped.keys():
            if self._covers(log) and self._heads.size(log):
                detail = f"{log}: {self._heads.size(log)} leaves were signed"
                self._report.add(Finding(Wrong.LOG_MISSING, detail))

    def _judge(self, leaf: Leaf, found: Envelope) -> None:
        """A record that isn't what its leaf says: another one's, or edited."""
        follower = self._ledger.follower(leaf.spool_id, found.previous_hash)
        if follower is not None:
            sequence, hashed = follower
            if record_hash(found.previous_hash, sequence, found.salt, found.record) == hashed:
                self._wrong(Wrong.REORDERED, leaf, f"what stands here is the record of sequence {sequence}")
                return
        self._wrong(Wrong.EDITED, leaf, "")

    def _follow_chains(self) -> None:
        before: Row | None = None
        for row in self._ledger.entries():
            if before is None or before[0] != row[0]:
                self._report.seen["spools"] += 1
                self._hole(row[0], 1, row[1] - 1)
            elif row[1] > before[2] + 1:
                self._hole(row[0], before[2] + 1, row[1] - 1)
            elif row[1] == before[2] + 1:
                self._link(before, row)
            elif row[3] == RECORD == before[3] and row[4] != before[4]:
                detail = "two records have this sequence"
                self._report.add(Finding(Wrong.FORKED, detail, row[0], row[1], row[1]))
            if before is None or before[0] != row[0] or row[2] >= before[2]:
                before = row

    def _link(self, before: Row, row: Row) -> None:
        previous = row[5]
        if previous is not None and before[4] != NO_HASH and previous != before[4]:
            kind = "gap" if before[3] == GAP else "record"
            detail = f"it does not follow the {kind} before it"
            self._report.add(Finding(Wrong.CHAIN, detail, row[0], row[1], row[2]))

    def _hole(self, spool_id: bytes, first: int, last: int) -> None:
        if first > last:
            return
        if self._sees_everything:
            detail = "never came, or is gone with its leaf"
            self._report.add(Finding(Wrong.MISSING, detail, spool_id, first, last))
        else:
            self._report.seen["sequences not looked at"] += last - first + 1

    @property
    def _sees_everything(self) -> bool:
        """No log that is not looked at may tell of an entry."""
        everything = self._heads.roots.keys() | self._heads.dropped.keys()
        return not self._unlogged and all(self._covers(log) for log in everything) and not self._heads.dropped

    def _say_what_is_untold(self) -> None:
        untold = self._report.untold
        if self._heads.hidden:
            said = "statements are shown by their hashes alone, as those about other tenants are"
            untold.append(
                f"{self._heads.hidden} signed {said}: whether one is about a log that should be here"
            )
        if not self._heads.signed:
            untold.append("nothing is signed: whoever can write to the archive may have changed all of it")
        elif self._unsigned:
            untold.append(f"{self._unsigned} leaves are not signed yet")
        if self._heads.dropped:
            leaves = sum(statement.size for statement in self._heads.dropped.values())
            days = sorted(log.day for log in self._heads.dropped)
            span = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
            said = f"in {len(days)} logs, of {span}, were dropped by retention, as storage signed"
            untold.append(f"{leaves} entries {said}")
        if self._unlogged:
            said = "records have no leaves: stored before the audit began, as their rows say"
            untold.append(f"{self._unlogged} {said}")
        if missed := self._report.seen["sequences not looked at"]:
            untold.append(f"{missed} sequences may be in logs that are not looked at")

    def _wrong(self, wrong: Wrong, leaf: Leaf, detail: str) -> None:
        self._report.add(Finding(wrong, detail, leaf.spool_id, leaf.first, leaf.last))
