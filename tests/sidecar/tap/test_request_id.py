"""Request ids and `traceparent`."""

import os
import uuid

import pytest

from sidecar.tap.request_id import RequestIds, is_usable


def test_made_ids():
    """Ids are unique, look like random UUIDs, and can themselves serve as a caller's id."""
    ids = RequestIds(os.urandom)
    made = [ids.new() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(uuid.UUID(each.decode()).version == 4 and len(each) == 36 for each in made)
    assert all(map(is_usable, made))


@pytest.mark.parametrize("byte", [0, 0xFF])
def test_made_ids_from_any_seed(byte):
    """Whatever the random source gives, ids stay well formed, however many are made."""
    ids = RequestIds(lambda size: bytes((byte,)) * size)
    assert {len(ids.new()) for _ in range(100)} == {36}
    assert uuid.UUID(ids.new().decode()).variant == uuid.RFC_4122


def test_two_processes():
    """Two processes do not make the same ids."""
    assert RequestIds(os.urandom).new() != RequestIds(os.urandom).new()


@pytest.mark.parametrize(
    ("value", "usable"),
    [(b"a", True), (b"~!" * 64, True), (b"", False), (b"a" * 129, False), (b"a b", False), (b"a\x7f", False)],
)
def test_usable(value, usable):
    """1 to 128 visible ASCII characters can be a call's id."""
    assert is_usable(value) is usable
