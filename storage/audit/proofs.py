"""Proofs: that an entry is in what was signed, made from leaves read now. Touches the archive.

Hashes of whole stretches of a log are remembered, for they never change: the first proof of a large log reads
all of it, the next ones a stretch or two.
"""

import threading
from collections import OrderedDict
from typing import Final

from infertap.verification import Frontier, LogId, inclusion_proof, node_hash
from storage.audit.interface import AuditArchive, LogSize, Place

# Leaves in a stretch; a power of two. Stretches that are read at once, and remembered.
_STRETCH: Final = 1024
_AT_ONCE: Final = 64
_MOST: Final = 100_000


class Proofs:
    """Makes proofs over one archive. Safe from any thread."""

    def __init__(self, archive: AuditArchive) -> None:
        """Remembers nothing yet."""
        self._archive = archive
        self._lock = threading.Lock()
        # The first proof of a large log reads all of it; who asks meanwhile waits for what that remembers.
        self._one_at_a_time = threading.Lock()
        self._stretches: OrderedDict[tuple[LogId, int], bytes] = OrderedDict()

    def inclusion(self, place: Place, size: int) -> list[bytes] | None:
        """Siblings from that leaf up to the root over `size` leaves; None where the log is not here, or is
        shorter. Raises ArchiveError.
        """
        log = next((each for each in self._archive.logs() if each.log == place.log), None)
        if log is None or log.size < size:
            return None
        with self._one_at_a_time:
            return inclusion_proof(place.index, size, lambda first, end: self._subtree(log, first, end))

    def _subtree(self, log: LogSize, first: int, end: int) -> bytes:
        """The hash over leaves `first` to `end`, a subtree of the log, so that its left part is whole."""
        if end - first <= _STRETCH:
            return self._read(log, first, end)
        middle = first + (1 << (end - first - 1).bit_length() - 1)
        return node_hash(self._subtree(log, first, middle), self._subtree(log, middle, end))

    def _read(self, log: LogSize, first: int, end: int) -> bytes:
        if end - first < _STRETCH:
            return self._hash(log, first, end)[0]
        number = first // _STRETCH
        with self._lock:
            known = self._stretches.get((log.log, number))
        if known is None:
            whole = max(1, min(_AT_ONCE, (log.size - first) // _STRETCH))
            hashes = self._hash(log, first, first + whole * _STRETCH)
            known = hashes[0]
            with self._lock:
                self._stretches.update(
                    ((log.log, number + each), hashed) for each, hashed in enumerate(hashes)
                )
                while len(self._stretches) > _MOST:
                    self._stretches.popitem(last=False)
        return known

    def _hash(self, log: LogSize, first: int, end: int) -> list[bytes]:
        """The hash of each stretch of the leaves `first` to `end`."""
        hashes: list[bytes] = []
        tree = Frontier()
        for leaf in self._archive.leaves(log, first, end - first):
            tree.append(leaf.hashed())
            if tree.size == _STRETCH:
                hashes.append(tree.root())
                tree = Frontier()
        return [*hashes, tree.root()] if tree.size else hashes
