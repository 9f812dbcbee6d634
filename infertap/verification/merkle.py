"""Merkle: the tree of RFC 6962, section 2.1: hashes, roots, and proofs that anyone can check. Pure.

    hash of a leaf    SHA-256(0x00 ‖ data)
    hash of a node    SHA-256(0x01 ‖ left ‖ right); left is the largest full subtree that leaves a right one
    of no leaves      SHA-256()

A proof is made by asking for the hashes of whole subtrees, so whoever keeps some of them need not read every
leaf. What is checked takes hashes from anywhere and trusts none of them.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256().digest()
# The hash of the subtree over leaves `first` to `end` (exclusive), of which there is at least one.
Subtree = Callable[[int, int], bytes]


class ProofError(ValueError):
    """A proof does not show what it should."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf with this data."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree that only grows: the hashes of its full subtrees, largest first; some forty for any size."""

    __slots__ = ("_full", "size")

    def __init__(self, size: int = 0, full: Sequence[bytes] = ()) -> None:
        """Empty, or as `copy` needs it."""
        self.size = size
        self._full = list(full)

    def copy(self) -> "Frontier":
        """One that grows apart from this."""
        return Frontier(self.size, self._full)

    def append(self, hashed: bytes) -> None:
        """Add the leaf with that hash."""
        merging = self.size
        while merging & 1:
            hashed = node_hash(self._full.pop(), hashed)
            merging >>= 1
        self._full.append(hashed)
        self.size += 1

    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self._full:
            return EMPTY_ROOT
        root = self._full[-1]
        for left in reversed(self._full[:-1]):
            root = node_hash(left, root)
        return root


def root_of(hashes: Iterable[bytes]) -> bytes:
    """The root over leaves with these hashes."""
    frontier = Frontier()
    for each in hashes:
        frontier.append(each)
    return frontier.root()


# -- making proofs


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """PATH(index, D[size]) of section 2.1.1: the siblings from the leaf up. Needs 0 <= index < size."""
    path: list[bytes] = []
    first, end = 0, size
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(first, middle))
            first = middle
    return path[::-1]


def consistency_proof(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """PROOF(old, D[new]) of section 2.1.2: that the tree of `new` leaves begins with that of `old`.

    Needs 0 < old <= new; empty where they are equal.
    """
    path: list[bytes] = []
    first, end, known = 0, new, True
    while old != end:
        middle = first + _split(end - first)
        if old <= middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(first, middle))
            first, known = middle, False
    if not known:
        path.append(subtree(first, end))
    return path[::-1]


def _split(count: int) -> int:
    """The largest power of two below `count`, which is at least 2."""
    return 1 << (count - 1).bit_length() - 1


# -- checking proofs


def check_inclusion(hashed: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """That the leaf with that hash is number `index` of the tree. Raises ProofError. (RFC 9162, 2.1.3.2)"""
    if not 0 <= index < size:
        raise ProofError("there is no such leaf")
    place, last = index, size - 1
    for each in path:
        if last == 0:
            raise ProofError("the proof is too long")
        if place & 1 or place == last:
            hashed = node_hash(each, hashed)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            hashed = node_hash(hashed, each)
        place, last = place >> 1, last >> 1
    if last:
        raise ProofError("the proof is too short")
    if hashed != root:
        raise ProofError("the proof leads to another root")


def check_consistency(old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> None:
    """That the tree of `new` leaves begins with that of `old`. Raises ProofError. (RFC 9162, 2.1.4.2)"""
    if not 0 <= old <= new:
        raise ProofError("the tree can't have become smaller")
    if old in (0, new):
        if path or (old == new and old_root != new_root):
            raise ProofError("two roots of one size")
        return
    steps = list(path) if old & (old - 1) else [old_root, *path]
    if not steps:
        raise ProofError("the proof is too short")
    from_old, from_new = _climb(old, new, steps)
    if from_old != old_root or from_new != new_root:
        raise ProofError("the proof leads to another root")


def _climb(old: int, new: int, steps: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The two roots that the steps lead to."""
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    from_old = from_new = steps[0]
    for each in steps[1:]:
        if last == 0:
            raise ProofError("the proof is too long")
        if place & 1 or place == last:
            from_old, from_new = node_hash(each, from_old), node_hash(each, from_new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            from_new = node_hash(from_new, each)
        place, last = place >> 1, last >> 1
    if last:
        raise ProofError("the proof is too short")
    return from_old, from_new
