"""Settlement: what becomes of records on the way to storage: leased, acknowledged, refused, damaged, rewound.

Each function works within one transaction and moves every record it touches from one count of the books to
another.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from sidecar.spool import ranges, rows
from sidecar.spool.entries import Gap, Spooled
from sidecar.spool.envelope import DamagedError
from sidecar.spool.range_table import U64
from sidecar.spool.ranges import Range
from sidecar.spool.tables import Transaction

# Damaged rows that one transaction replaces by a gap at most, for deletes need pages too.
_DAMAGED_AT_ONCE: Final = 64


def outstanding(txn: Transaction, after: int) -> Iterator[Spooled | Gap | int]:
    """What storage lacks beyond `after`, in order: entries, gaps, and bare sequences of damaged rows."""
    gap = txn.gaps.at_or_after(after + 1)
    for sequence in rows.pending(txn, after + 1):
        while gap is not None and gap.first < sequence:
            yield _cut(gap, after)
            gap = txn.gaps.at_or_after(gap.last + 1)
        yield _read_or_number(txn, sequence)
    while gap is not None:
        yield _cut(gap, after)
        gap = txn.gaps.at_or_after(gap.last + 1)


def lease(
    txn: Transaction, after: int, max_entries: int, max_bytes: int
) -> tuple[list[Spooled | Gap], list[int]]:
    """What comes next beyond `after`, one entry at least if there is any; and the damaged rows among it."""
    leased: list[Spooled | Gap] = []
    damaged: list[int] = []
    size = 0
    for entry in outstanding(txn, after):
        if isinstance(entry, int):
            damaged.append(entry)
            if len(damaged) == _DAMAGED_AT_ONCE:
                break
            continue
        if damaged or len(leased) == max_entries or (leased and size + entry.size > max_bytes):
            break
        leased.append(entry)
        size += entry.size
    return leased, damaged


def _cut(gap: Gap, after: int) -> Gap:
    return gap if gap.first > after else Gap(after + 1, gap.last, gap.last_hash, gap.reason)


def _read_or_number(txn: Transaction, sequence: int) -> Spooled | int:
    try:
        return rows.read(txn, sequence) or sequence
    except DamagedError:
        return sequence


def give_up_damaged(txn: Transaction, sequences: Iterable[int]) -> None:
    """Put a gap in the place of pending rows that can't be read."""
    for sequence in sequences:
        # It was read in an earlier snapshot: storage may have settled it meanwhile.
        if next(rows.pending(txn, sequence), None) == sequence:
            removed = rows.remove(txn, sequence)
            txn.gaps.declare(Gap(sequence, sequence, removed.hash, "corrupt"))
            txn.books.pending -= 1
            txn.books.corrupt += 1


def give_up_missing(txn: Transaction) -> None:
    """Where the books know of pending records and the rows of none, a damaged key hides them: gaps."""
    if not txn.books.pending or next(outstanding(txn, 0), None) is not None:
        return
    end = txn.books.next_sequence - 1
    here = ranges.tidy((each, each) for each in rows.sequences(txn, 0))
    lacking = ranges.subtract(ranges.subtract([(1, end)], list(txn.acked.within(0, end))), here)
    for first, last in lacking:
        _declare_missing(txn, first, last, "corrupt")
    txn.books.corrupt += txn.books.pending
    txn.books.pending = 0


def ack(txn: Transaction, acked: Iterable[Range]) -> None:
    """Storage has these; what it has already is no news, and what was never appended is ignored."""
    for first, last in ranges.clip(acked, 1, txn.books.next_sequence - 1):
        known = list(txn.acked.within(first, last))
        for fresh_first, fresh_last in ranges.subtract([(first, last)], known):
            _ack_fresh(txn, fresh_first, fresh_last)


def _ack_fresh(txn: Transaction, first: int, last: int) -> None:
    for sequence in _rows_within(txn, first, last):
        if txn.delete("dead", U64.pack(sequence)):
            txn.books.dead_lettered -= 1
        else:
            txn.books.pending -= 1
        txn.books.acked += 1
    txn.gaps.trim(first, last)
    txn.acked.add(first, last)


def dead_letter(txn: Transaction, sequence: int, reason: str) -> None:
    """Storage refuses this one for good. A refused gap is forgotten: there is nothing to keep of it.

    A sequence that was never appended is ignored: the number comes from outside.
    """
    if not 0 < sequence < txn.books.next_sequence:
        return
    acked = txn.acked.at_or_after(sequence)
    if acked is not None and acked[0] <= sequence:
        return
    if rows.has_row(txn, sequence):
        if not rows.is_dead(txn, sequence):
            txn.put("dead", U64.pack(sequence), reason.encode()[:512])
            txn.books.pending -= 1
            txn.books.dead_lettered += 1
    else:
        ack(txn, [(gap.first, gap.last) for gap in txn.gaps.within(sequence, sequence)])


def resend(txn: Transaction, sequences: Iterable[int]) -> int:
    """Storage may take these dead letters now: they are pending again. Returns how many there were."""
    resent = 0
    for sequence in sequences:
        if txn.delete("dead", U64.pack(sequence)):
            txn.books.dead_lettered -= 1
            txn.books.pending += 1
            resent += 1
    return resent


def forget(txn: Transaction, forgotten: Iterable[Range], most_chunks: int) -> int:
    """Remove rows that storage has as tombstones, at most so many chunks, but for one record that has more.

    Returns how many went. Only what is acknowledged; each hash stays in the head of the row behind it.
    """
    chunks = 0
    for first, last in ranges.clip(forgotten, 1, txn.books.next_sequence - 1):
        for acked_first, acked_last in ranges.intersect([(first, last)], list(txn.acked.within(first, last))):
            for sequence in _rows_within(txn, acked_first, acked_last):
                chunks += rows.remove(txn, sequence).chunks
                if chunks >= most_chunks:
                    return chunks
    return chunks


def rewind(txn: Transaction, received: Iterable[Range]) -> bool:
    """Take storage's word for what it has; False, and nothing done, if it has what was never appended.

    What storage has is acknowledged. What it lacks though it was acknowledged (a backup was restored, or this
    is another storage) is pending again, or declared a gap where it made room already. Counts of losses stay:
    what is declared here was in storage once.
    """
    told = ranges.tidy(received)
    end = txn.books.next_sequence - 1
    if told and told[-1][1] > end:
        return False
    acked = list(txn.acked.within(0, end))
    lacking = ranges.subtract([(1, end)] if end else [], told)
    ack(txn, told)
    for first, last in ranges.intersect(acked, lacking):
        _take_back(txn, first, last)
    for first, last in ranges.intersect(_gone_at_the_start(txn, end), ranges.subtract(lacking, acked)):
        _declare_missing(txn, first, last, "expired")
    return True


def _take_back(txn: Transaction, first: int, last: int) -> None:
    txn.acked.remove(first, last)
    here = []
    for sequence in _rows_within(txn, first, last):
        txn.books.acked -= 1
        txn.books.pending += 1
        here.append((sequence, sequence))
    for gone_first, gone_last in ranges.subtract([(first, last)], ranges.tidy(here)):
        _declare_missing(txn, gone_first, gone_last, "evicted")


def _gone_at_the_start(txn: Transaction, end: int) -> list[Range]:
    """Only a ring drops rows without a trace, and only the oldest: all before the first row."""
    return ranges.tidy([(1, next(rows.sequences(txn, 0), end + 1) - 1)])


def _declare_missing(txn: Transaction, first: int, last: int, reason: str) -> None:
    told = [(gap.first, gap.last) for gap in txn.gaps.within(first, last)]
    for gone_first, gone_last in ranges.subtract([(first, last)], told):
        txn.gaps.declare(Gap(gone_first, gone_last, rows.hash_told_by_others(txn, gone_last), reason))


def _rows_within(txn: Transaction, first: int, last: int) -> Iterator[int]:
    for sequence in rows.sequences(txn, first):
        if sequence > last:
            return
        yield sequence
