"""Books: the numbers of the spool, kept in one value that every transaction reads first and writes last.
Pure.

    offset  bytes
         0      4  CRC-32 (zlib.crc32) of the rest
         4      4  format version
         8     16  spool id
        24      8  next sequence; starts at 1, never goes back
        32     32  hash of the entry before `next sequence`; 32 zero bytes before the first
        64   7 × 8  appended, pending, acked, evicted_unacked, dead_lettered, corrupt, expired

Numbers are big-endian. Since counts change in the same transaction as what they count, the account balances
after any kill, and opening a spool of any size reads these 120 bytes.
"""

import struct
from dataclasses import astuple, dataclass
from typing import Final
from zlib import crc32

from sidecar.spool.envelope import NO_HASH

FORMAT_VERSION: Final = 1

_PREFIX: Final = struct.Struct(">II")
_BODY: Final = struct.Struct(">16sQ32s7Q")


class BooksError(Exception):
    """The books are missing, damaged, or of another format version."""


@dataclass(slots=True)
class Books:
    """See the module's docstring, and `SpoolAccount`. Changed by one transaction at a time."""

    spool_id: bytes
    next_sequence: int = 1
    head_hash: bytes = NO_HASH
    appended: int = 0
    pending: int = 0
    acked: int = 0
    evicted_unacked: int = 0
    dead_lettered: int = 0
    corrupt: int = 0
    expired: int = 0

    def pack(self) -> bytes:
        """The value on disk; raises BooksError for counts that no sound file leads to."""
        try:
            body = _BODY.pack(*astuple(self))
        except struct.error:
            raise BooksError("a count below zero") from None
        return _PREFIX.pack(crc32(_version_bytes(FORMAT_VERSION) + body), FORMAT_VERSION) + body

    @classmethod
    def unpack(cls, value: bytes | None) -> "Books":
        """The books in a value; raises BooksError."""
        if value is None or len(value) < _PREFIX.size:
            raise BooksError("no books in the file")
        checksum, version = _PREFIX.unpack_from(value)
        body = value[_PREFIX.size :]
        if checksum != crc32(_version_bytes(version) + body):
            raise BooksError("checksum of the books")
        if version != FORMAT_VERSION or len(body) != _BODY.size:
            raise BooksError(f"format version {version}; this program knows {FORMAT_VERSION}")
        return cls(*_BODY.unpack(body))


def _version_bytes(version: int) -> bytes:
    return version.to_bytes(4)
