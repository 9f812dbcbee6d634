"""Rows: the live records, walked, read and removed within a transaction."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sidecar.spool.entries import Spooled
from sidecar.spool.envelope import DamagedError, read_head, unseal
from sidecar.spool.range_table import U64
from sidecar.spool.tables import Transaction

ROW_KEY: Final = struct.Struct(">QH")
_SEQUENCE_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Removed:
    """What was deleted: how many chunks, and the chain's hash of the entry, empty where it is not known."""

    chunks: int
    hash: bytes


def sequences(txn: Transaction, first: int) -> Iterator[int]:
    """Sequences that have a row, from `first` upwards. Rows already passed may be removed meanwhile."""
    cursor = txn.cursor("rows")
    position = first
    while cursor.set_range(ROW_KEY.pack(position, 0)):
        found: int = U64.unpack_from(cursor.key())[0]
        yield found
        position = found + 1


def sequences_below(txn: Transaction, below: int) -> Iterator[int]:
    """Sequences that have a row, descending."""
    cursor = txn.cursor("rows")
    position = below
    while cursor.prev() if cursor.set_range(ROW_KEY.pack(position, 0)) else cursor.last():
        position = U64.unpack_from(cursor.key())[0]
        yield position


def pending(txn: Transaction, first: int) -> Iterator[int]:
    """Sequences from `first` upwards whose rows are neither acknowledged nor dead."""
    cursor = txn.cursor("rows")
    any_dead = txn.entries("dead") > 0
    acked = txn.acked.at_or_after(first)
    position = first
    while cursor.set_range(ROW_KEY.pack(position, 0)):
        found: int = U64.unpack_from(cursor.key())[0]
        if acked is not None and found > acked[1]:
            acked = txn.acked.at_or_after(found)
        if acked is not None and acked[0] <= found:
            position = acked[1] + 1
            continue
        if not (any_dead and is_dead(txn, found)):
            yield found
        position = found + 1


def is_dead(txn: Transaction, sequence: int) -> bool:
    """Storage refused it."""
    return txn.get("dead", U64.pack(sequence)) is not None


def has_row(txn: Transaction, sequence: int) -> bool:
    """The record is still here, intact or not."""
    return txn.get("rows", ROW_KEY.pack(sequence, 0)) is not None


def read(txn: Transaction, sequence: int) -> Spooled | None:
    """The entry, None where it has no row; raises DamagedError."""
    cursor = txn.cursor("rows")
    if not cursor.set_key(ROW_KEY.pack(sequence, 0)):
        return None
    chunks = [cursor.value()]
    prefix = U64.pack(sequence)
    while cursor.next() and cursor.key().startswith(prefix):
        chunks.append(cursor.value())
    return unseal(sequence, chunks[0] if len(chunks) == 1 else b"".join(chunks))


def find(txn: Transaction, key: bytes) -> int | None:
    """The highest sequence appended under a lookup key."""
    cursor = txn.cursor("keys")
    beyond = key + b"\xff" * _SEQUENCE_BYTES
    if not (cursor.prev() if cursor.set_range(beyond) else cursor.last()):
        return None
    found = cursor.key()
    return U64.unpack(found[len(key) :])[0] if found.startswith(key) else None


def find_all(txn: Transaction, key: bytes) -> list[int]:
    """The sequences appended under a lookup key, ascending."""
    cursor = txn.cursor("keys")
    found: list[int] = []
    is_there = cursor.set_range(key)
    while is_there and cursor.key().startswith(key):
        found.append(U64.unpack(cursor.key()[len(key) :])[0])
        is_there = cursor.next()
    return found


def hash_told_by_others(txn: Transaction, sequence: int) -> bytes:
    """The chain's hash at `sequence` where its row can't tell: from the next head; else empty."""
    if sequence == txn.books.next_sequence - 1:
        return txn.books.head_hash
    chunk = txn.get("rows", ROW_KEY.pack(sequence + 1, 0))
    try:
        return b"" if chunk is None else read_head(sequence + 1, chunk).previous_hash
    except DamagedError:
        return b""


def remove(txn: Transaction, sequence: int) -> Removed:
    """Delete a row with what points to it."""
    cursor = txn.cursor("rows")
    if not cursor.set_key(ROW_KEY.pack(sequence, 0)):
        return Removed(0, b"")
    prefix = U64.pack(sequence)
    try:
        head = read_head(sequence, cursor.value())
        txn.delete("keys", head.key + prefix)
        own_hash = head.hash
    except DamagedError:
        # Its lookup entry stays, and leads to nothing.
        own_hash = hash_told_by_others(txn, sequence)
    chunks = 0
    while cursor.key().startswith(prefix):
        cursor.delete()
        chunks += 1
    return Removed(chunks, own_hash)
