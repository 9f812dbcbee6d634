"""The envelope on disk: read back as written, refused when any byte has changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.spool.envelope import HEAD_BYTES, NO_HASH, DamagedError, chain_hash, read_head, seal, unseal

KEY, SALT = b"k" * 16, b"s" * 16
# Written by format version 1: such rows stay readable for ever.
GOLDEN_HEAD = (
    "110df0ac33ff86270000000000000102000000066b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b70707070"
    "7070707070707070707070707070707070707070707070707070707021c86b492da5deccd431137f"
    "dfd33d154b076b0d1d20999e71fa3ce1aa0fb99d73737373737373737373737373737373"
)


@given(st.integers(1, 2**64 - 1), st.binary(max_size=200), st.binary(min_size=32, max_size=32))
def test_round_trip(sequence: int, record: bytes, previous: bytes) -> None:
    """An entry comes back as it was sealed, and its hash can be checked."""
    own_hash, head = seal(sequence, KEY, previous, SALT, record)
    entry = unseal(sequence, head + record)
    assert (entry.sequence, entry.key, entry.record) == (sequence, KEY, record)
    assert entry.hash == own_hash == chain_hash(previous, sequence, SALT, record)
    assert read_head(sequence, head).previous_hash == previous


@given(st.data())
def test_damage(data: st.DataObject) -> None:
    """Any byte changed, cut or added, or a row under another sequence, is noticed."""
    _, head = seal(7, KEY, NO_HASH, SALT, b"a record")
    row = bytearray(head + b"a record")
    row[data.draw(st.integers(0, len(row) - 1))] ^= data.draw(st.integers(1, 255))
    sound = head + b"a record"
    for sequence, damaged in ((7, bytes(row)), (7, sound[:-1]), (7, sound + b"x"), (8, sound), (7, b"")):
        with pytest.raises(DamagedError):
            unseal(sequence, damaged)


def test_head_is_checked_without_the_record() -> None:
    """Eviction trusts the head alone: damage to the record does not hide its hash."""
    own_hash, head = seal(7, KEY, NO_HASH, SALT, b"a record")
    assert read_head(7, head + b"a_record").hash == own_hash


def test_golden() -> None:
    """Rows written by the first version stay readable."""
    own_hash, head = seal(258, KEY, b"p" * 32, SALT, b"golden")
    assert len(head) == HEAD_BYTES == 116
    assert head.hex() == GOLDEN_HEAD
    assert unseal(258, bytes.fromhex(GOLDEN_HEAD) + b"golden").hash == own_hash
