"""Range table: a set of sequences on disk, as ascending ranges that never touch.

    key: first u64be    value: last u64be

In the steady state it is one range, however many sequences it holds. Touches its table only, in the
transaction it was made with.
"""

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sidecar.spool.errors import UnsoundError
from sidecar.spool.ranges import Range

if TYPE_CHECKING:
    import lmdb

U64: Final = struct.Struct(">Q")


def read_u64(found: bytes) -> int:
    """The number that a key or value begins with; raises UnsoundError where it is too short."""
    if len(found) < U64.size:
        raise UnsoundError("a key or value that is cut short")
    number: int = U64.unpack_from(found)[0]
    return number


class RangeTable:
    """The set, within one transaction."""

    def __init__(self, cursor: "lmdb.Cursor[bytes]") -> None:
        """`cursor` is the table's own and used by nobody else."""
        self._cursor = cursor

    def at_or_after(self, sequence: int) -> Range | None:
        """The range that holds `sequence`, else the first one after it."""
        before = (
            self._cursor.prev() if self._cursor.set_range(U64.pack(sequence + 1)) else self._cursor.last()
        )
        if before:
            found = self._here()
            if found[1] >= sequence:
                return found
        if not self._cursor.set_range(U64.pack(sequence + 1)):
            return None
        found = self._here()
        if found[0] <= sequence:
            raise UnsoundError("ranges are out of order")
        return found

    def within(self, first: int, last: int) -> Iterator[Range]:
        """The ranges that overlap `first` to `last`, uncut, ascending. The table may change meanwhile."""
        found = self.at_or_after(first)
        while found is not None and found[0] <= last:
            yield found
            found = self.at_or_after(found[1] + 1)

    def add(self, first: int, last: int) -> None:
        """Put `first` to `last` into the set."""
        start, end = first, last
        for near in self.within(max(first - 1, 0), last + 1):
            start, end = min(start, near[0]), max(end, near[1])
            self._delete(near[0])
        self._cursor.put(U64.pack(start), U64.pack(end))

    def remove(self, first: int, last: int) -> None:
        """Take `first` to `last` out of the set."""
        for near in self.within(first, last):
            self._delete(near[0])
            if near[0] < first:
                self._cursor.put(U64.pack(near[0]), U64.pack(first - 1))
            if near[1] > last:
                self._cursor.put(U64.pack(last + 1), U64.pack(near[1]))

    def _delete(self, first: int) -> None:
        if self._cursor.set_key(U64.pack(first)):
            self._cursor.delete()

    def _here(self) -> Range:
        first, last = read_u64(self._cursor.key()), read_u64(self._cursor.value())
        if last < first:  # damaged; who walks on from `last` would walk for ever
            raise UnsoundError("a range that ends before it begins")
        return first, last
