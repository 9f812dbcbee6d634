"""Leaves: what a log says of one entry, and the hashes that tie it to the record. Pure.

The data of a leaf, whose hash is that of `merkle`:

    offset  bytes
         0      1  kind: 1 a record, 2 a gap, 3 a deletion
         1     16  spool id
        17      8  first sequence
        25      8  last sequence; the first again but for gaps
        33     32  hash: of the record; of the gap's last entry, zeros where unknown; of what was deleted
        65         reason, UTF-8: of the gap or the deletion

Numbers are big-endian. The hash of a record is that of its spool's chain, made in the pod:

    hash = SHA-256(previous hash ‖ sequence, 8 bytes ‖ salt, 16 bytes ‖ record)

The salt goes with a deleted record, so that nothing can be guessed from the hash that stays.
"""

import struct
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from infertap.verification.merkle import leaf_hash

RECORD: Final = 1
GAP: Final = 2
DELETION: Final = 3
KINDS: Final = {RECORD: "record", GAP: "gap", DELETION: "deletion"}
NO_HASH: Final = bytes(32)
SPOOL_ID_BYTES: Final = 16
_MOST_SEQUENCE: Final = (1 << 63) - 1
_HEAD: Final = struct.Struct(">B16sQQ32s")
_SEQUENCE: Final = struct.Struct(">Q")
# Below this hashlib keeps the interpreter's lock. To give it up for some microseconds, and to wait for it
# again beside busy threads, takes far longer than the hash; not so for what is large.
_HELD_BYTES: Final = 2047
_LARGE: Final = 32 << 10


@dataclass(frozen=True, slots=True)
class LogId:
    """Names a log: a tenant's entries that one run of storage took on one day (UTC, "2026-11-21")."""

    tenant: str
    day: str
    log: str

    def __str__(self) -> str:
        return f"{self.tenant or '-'}/{self.day}/{self.log}"


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a log says of one entry."""

    kind: int
    spool_id: bytes
    first: int
    last: int
    hash: bytes
    reason: str = ""

    def data(self) -> bytes:
        """As it is hashed."""
        head = _HEAD.pack(self.kind, self.spool_id, self.first, self.last, self.hash or NO_HASH)
        return head + self.reason.encode()

    def hashed(self) -> bytes:
        """Its hash in the tree."""
        return leaf_hash(self.data())


def check_leaf(leaf: Leaf) -> Leaf:
    """The leaf, which came from anywhere; raises ValueError where none can be like that."""
    if (
        leaf.kind not in KINDS
        or len(leaf.spool_id) != SPOOL_ID_BYTES
        or len(leaf.hash) != len(NO_HASH)
        or not 0 <= leaf.first <= leaf.last <= _MOST_SEQUENCE
        or (leaf.kind != GAP and leaf.first != leaf.last)
    ):
        raise ValueError("not a leaf")
    return leaf


def record_hash(previous_hash: bytes, sequence: int, salt: bytes, record: bytes) -> bytes:
    """The hash of a record in its spool's chain."""
    digest = sha256(previous_hash + _SEQUENCE.pack(sequence) + salt)
    if len(record) > _LARGE:
        digest.update(record)
    else:
        for at in range(0, len(record), _HELD_BYTES):
            digest.update(record[at : at + _HELD_BYTES])
    return digest.digest()
