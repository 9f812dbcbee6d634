"""Eviction: makes room in small transactions, for deletes need pages too.

Acknowledged rows go first, oldest first. Where there are none, the oldest of the others go, and a gap in
their place tells storage. Without storage the spool is a ring: the oldest go, whatever they are, and are
`expired`.
"""

from typing import Final

from sidecar.spool import rows
from sidecar.spool.entries import Gap
from sidecar.spool.range_table import U64
from sidecar.spool.tables import Transaction

# Chunks deleted by one transaction, but for a single record that has more.
MAX_CHUNKS: Final = 256


def evict(txn: Transaction, ring: bool, excess_bytes: int) -> int:
    """Remove some rows; returns how many chunks went, 0 when nothing is left.

    Acknowledged rows go up to the transaction's limit, so that the next few appends find room; others only as
    far as `excess_bytes` demands.
    """
    if ring:
        return _evict_oldest(txn, ring, MAX_CHUNKS)
    demanded = min(MAX_CHUNKS, excess_bytes // txn.tables.page_bytes + 1)
    return _evict_acked(txn) or _evict_oldest(txn, ring, demanded)


def _evict_acked(txn: Transaction) -> int:
    chunks = 0
    acked = txn.acked.at_or_after(0)
    sequence = next(rows.sequences(txn, 0), None)
    while chunks < MAX_CHUNKS and acked is not None and sequence is not None:
        if sequence > acked[1]:
            acked = txn.acked.at_or_after(sequence)
        elif sequence < acked[0]:
            sequence = next(rows.sequences(txn, acked[0]), None)
        else:
            chunks += rows.remove(txn, sequence).chunks
            sequence = next(rows.sequences(txn, sequence + 1), None)
    return chunks


def _evict_oldest(txn: Transaction, ring: bool, demanded_chunks: int) -> int:
    chunks = 0
    gap: Gap | None = None
    for sequence in rows.sequences(txn, 0):
        reason = _account_for(txn, sequence, ring)
        removed = rows.remove(txn, sequence)
        gap = _extend_or_declare(txn, gap, sequence, removed.hash, reason)
        chunks += removed.chunks
        if chunks >= demanded_chunks:
            break
    if gap is not None:
        txn.gaps.declare(gap)
    return chunks


def _account_for(txn: Transaction, sequence: int, ring: bool) -> str:
    """Count one row out; returns the reason for its gap, empty where none is due."""
    acked = txn.acked.at_or_after(sequence)
    if acked is not None and acked[0] <= sequence:
        return ""
    if txn.delete("dead", U64.pack(sequence)):
        return "dead_lettered"
    txn.books.pending -= 1
    if ring:
        txn.books.expired += 1
        return ""
    txn.books.evicted_unacked += 1
    return "evicted"


def _extend_or_declare(
    txn: Transaction, gap: Gap | None, sequence: int, last_hash: bytes, reason: str
) -> Gap | None:
    """One gap for a run of rows: returns the run so far, after declaring the one that ended."""
    if gap is not None and gap.last == sequence - 1 and gap.reason == reason:
        return Gap(gap.first, sequence, last_hash, reason)
    if gap is not None:
        txn.gaps.declare(gap)
    return Gap(sequence, sequence, last_hash, reason) if reason else None
