"""The spool's own numbers on disk."""

from dataclasses import replace

import pytest

from sidecar.spool.books import Books, BooksError

BOOKS = Books(b"i" * 16, 11, b"h" * 32, 10, 3, 2, 1, 1, 1, 2)
# Written by format version 1: such books stay readable for ever.
GOLDEN_HEX = (
    "8fb8c7b30000000169696969696969696969696969696969000000000000000b6868686868686868"
    "686868686868686868686868686868686868686868686868000000000000000a0000000000000003"
    "00000000000000020000000000000001000000000000000100000000000000010000000000000002"
)


def test_round_trip() -> None:
    """Books come back as they were packed, in 120 bytes."""
    packed = BOOKS.pack()
    assert len(packed) == 120
    assert Books.unpack(packed) == BOOKS


def test_golden() -> None:
    """Books written by the first version stay readable."""
    assert BOOKS.pack().hex() == GOLDEN_HEX


def test_damage() -> None:
    """Books that are missing, cut, or changed in any byte are refused."""
    packed = BOOKS.pack()
    changed = [packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :] for at in range(len(packed))]
    for damaged in (None, b"", packed[:-1], packed + b"x", *changed):
        with pytest.raises(BooksError):
            Books.unpack(damaged)


def test_count_below_zero() -> None:
    """Counts that can't be are not written: a damaged file led to them."""
    with pytest.raises(BooksError, match="below zero"):
        replace(BOOKS, pending=-1).pack()
