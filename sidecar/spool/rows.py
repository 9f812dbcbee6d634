"""Rows: the live records, walked, read and removed within a transaction."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.spool.entries import Spooled
from sidecar.spool.envelope import DamagedError, read_head, unseal
from sidecar.spool.errors import UnsoundError
from sidecar.spool.range_table import U64, read_u64
from sidecar.spool.tables import Transaction

if TYPE_CHECKING:
    import lmdb

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
        found = _sequence_from(cursor, position)
        yield found
        position = found + 1


def sequences_below(txn: Transaction, below: int) -> Iterator[int]:
    """Sequences that have a row, descending."""
    cursor = txn.cursor("rows")
    position = below
    while cursor.prev() if cursor.set_range(ROW_KEY.pack(position, 0)) else cursor.last():
        found = read_u64(cursor.key())
        if found >= position:
            raise UnsoundError("rows are out of order")
        yield found
        position = found


def pending(txn: Transaction, first: int) -> Iterator[int]:
    """Sequences from `first` upwards whose rows are neither acknowledged nor dead."""
    cursor = txn.cursor("rows")
    any_dead = txn.entries("dead") > 0
    acked = txn.acked.at_or_after(first)
    position = first
    while cursor.set_range(ROW_KEY.pack(position, 0)):
        found = _sequence_from(cursor, position)
        if acked is not None and found > acked[1]:
            acked = txn.acked.at_or_after(found)
        if acked is not None and acked[0] <= found:
            position = acked[1] + 1
            continue
        if not (any_dead and is_dead(txn, found)):
            yield found
        position = found + 1


def _sequence_from(cursor: "lmdb.Cursor[bytes]", position: int) -> int:
    """The sequence under the cursor; one before `position` in a damaged file would have us walk for ever."""
    found = read_u64(cursor.key())
    if found < position:
        raise UnsoundError("rows are out of order")
    return found


def is_dead(txn: Transaction, sequence: int) -> bool:
    """Storage refused it."""
    return txn.get("dead", U64.pack(sequence)) is not None


def dead(txn: Transaction, above: int) -> Iterator[tuple[int, str]]:
    """The dead letters with sequences above `above`, ascending, and why storage refused each."""
    cursor = txn.cursor("dead")
    is_there = cursor.set_range(U64.pack(above + 1))
    while is_there:
        yield read_u64(cursor.key()), cursor.value().decode("utf-8", "replace")
        is_there = cursor.next()


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
    return read_u64(found[len(key) :]) if found.startswith(key) else None


def find_all(txn: Transaction, key: bytes) -> list[int]:
    """The sequences appended under a lookup key, ascending."""
    cursor = txn.cursor("keys")
    found: list[int] = []
    is_there = cursor.set_range(key)
    while is_there and cursor.key().startswith(key):
        found.append(read_u64(cursor.key()[len(key) :]))
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
    """Delete a row, or what is left of it, with what points to it."""
    cursor = txn.cursor("rows")
    prefix = U64.pack(sequence)
    if not (cursor.set_range(prefix) and cursor.key().startswith(prefix)):
        return Removed(0, b"")
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
