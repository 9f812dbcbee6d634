"""Gap table: what can no longer be sent, and why, until storage has been told.

    key: first u64be    value: last u64be ‖ length of the hash u8 (0 or 32) ‖ hash ‖ reason, ASCII

Gaps never overlap; neighbours with one reason are merged. Touches its table only, in the transaction it was
made with.
"""

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sidecar.spool.entries import Gap
from sidecar.spool.errors import UnsoundError
from sidecar.spool.range_table import U64, read_u64

if TYPE_CHECKING:
    import lmdb

_VALUE: Final = struct.Struct(">QB")


class GapTable:
    """The gaps, within one transaction."""

    def __init__(self, cursor: "lmdb.Cursor[bytes]") -> None:
        """`cursor` is the table's own and used by nobody else."""
        self._cursor = cursor

    def at_or_after(self, sequence: int) -> Gap | None:
        """The gap that holds `sequence`, else the first one after it; uncut."""
        before = (
            self._cursor.prev() if self._cursor.set_range(U64.pack(sequence + 1)) else self._cursor.last()
        )
        if before:
            found = self._here()
            if found.last >= sequence:
                return found
        if not self._cursor.set_range(U64.pack(sequence + 1)):
            return None
        found = self._here()
        if found.first <= sequence:
            raise UnsoundError("gaps are out of order")
        return found

    def within(self, first: int, last: int) -> Iterator[Gap]:
        """The gaps that overlap `first` to `last`, uncut, ascending. The table may change meanwhile."""
        found = self.at_or_after(first)
        while found is not None and found.first <= last:
            yield found
            found = self.at_or_after(found.last + 1)

    def declare(self, gap: Gap) -> None:
        """Add a gap that overlaps no other; merge it with neighbours of its reason."""
        first, last, last_hash = gap.first, gap.last, gap.last_hash
        for near in list(self.within(max(first - 1, 0), last + 1)):
            if near.reason == gap.reason:
                self._delete(near.first)
                first = min(first, near.first)
                if near.last > last:
                    last, last_hash = near.last, near.last_hash
        self._put(Gap(first, last, last_hash, gap.reason))

    def trim(self, first: int, last: int) -> None:
        """Storage knows about `first` to `last`: forget them."""
        for near in list(self.within(first, last)):
            self._delete(near.first)
            if near.first < first:
                self._put(Gap(near.first, first - 1, b"", near.reason))
            if near.last > last:
                self._put(Gap(last + 1, near.last, near.last_hash, near.reason))

    def _put(self, gap: Gap) -> None:
        value = _VALUE.pack(gap.last, len(gap.last_hash)) + gap.last_hash + gap.reason.encode("ascii")
        self._cursor.put(U64.pack(gap.first), value)

    def _delete(self, first: int) -> None:
        if self._cursor.set_key(U64.pack(first)):
            self._cursor.delete()

    def _here(self) -> Gap:
        value = self._cursor.value()
        if len(value) < _VALUE.size:
            raise UnsoundError("a gap that is cut short")
        last, hash_bytes = _VALUE.unpack_from(value)
        split = _VALUE.size + hash_bytes
        reason = value[split:].decode("ascii", "replace")
        first = read_u64(self._cursor.key())
        if last < first:  # damaged; who walks on from `last` would walk for ever
            raise UnsoundError("a gap that ends before it begins")
        return Gap(first, last, value[_VALUE.size : split], reason)
