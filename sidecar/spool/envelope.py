"""Envelope: what surrounds a record on disk, and the hash chain. Pure.

A record is cut into chunks that fill one page of the file each, so that room never has to be found in one
piece: the value of key (sequence, n) is chunk n of

    offset  bytes
         0      4  CRC-32 (zlib.crc32) of the rest of the head
         4      4  CRC-32 (zlib.crc32) of the record
         8      8  sequence
        16      4  length of the record
        20     16  lookup key (call id)
        36     32  previous hash: that of the entry with the sequence before; 32 zero bytes for the first
        68     32  hash = SHA-256(previous hash ‖ sequence ‖ salt ‖ record)
       100     16  salt, random
       116         record

Numbers are big-endian. The head has a checksum of its own, because eviction trusts its hash without reading
the record.
"""

import struct
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from zlib import crc32

from sidecar.spool.entries import Spooled

KEY_BYTES: Final = 16
SALT_BYTES: Final = 16
NO_HASH: Final = bytes(32)

_HEAD: Final = struct.Struct(">IQI16s32s32s16s")
_CHECKSUM: Final = struct.Struct(">I")
HEAD_BYTES: Final = _CHECKSUM.size + _HEAD.size
_SEQUENCE: Final = struct.Struct(">Q")


class DamagedError(Exception):
    """The bytes of a row are not what was written."""


@dataclass(frozen=True, slots=True)
class Head:
    """The envelope without its record."""

    record_crc: int
    sequence: int
    length: int
    key: bytes
    previous_hash: bytes
    hash: bytes
    salt: bytes


def chain_hash(previous_hash: bytes, sequence: int, salt: bytes, record: bytes) -> bytes:
    """The hash of an entry; deleting its salt leaves a hash from which nothing can be guessed."""
    digest = sha256(previous_hash + _SEQUENCE.pack(sequence) + salt)
    digest.update(record)
    return digest.digest()


def seal(sequence: int, key: bytes, previous_hash: bytes, salt: bytes, record: bytes) -> tuple[bytes, bytes]:
    """The hash of the entry, and the head that goes before the record on disk."""
    own_hash = chain_hash(previous_hash, sequence, salt, record)
    rest = _HEAD.pack(crc32(record), sequence, len(record), key, previous_hash, own_hash, salt)
    return own_hash, _CHECKSUM.pack(crc32(rest)) + rest


def read_head(sequence: int, first_chunk: bytes) -> Head:
    """The head at the start of a row; raises DamagedError unless it is intact and of this sequence."""
    if len(first_chunk) < HEAD_BYTES:
        raise DamagedError("head cut short")
    rest = first_chunk[_CHECKSUM.size : HEAD_BYTES]
    head = Head(*_HEAD.unpack(rest))
    if _CHECKSUM.unpack_from(first_chunk)[0] != crc32(rest) or head.sequence != sequence:
        raise DamagedError("checksum of the head")
    return head


def unseal(sequence: int, row: bytes) -> Spooled:
    """The entry in a whole row; raises DamagedError."""
    head = read_head(sequence, row)
    record = row[HEAD_BYTES:]
    if len(record) != head.length or crc32(record) != head.record_crc:
        raise DamagedError("checksum of the record")
    return Spooled(sequence, head.key, head.previous_hash, head.hash, head.salt, record)
