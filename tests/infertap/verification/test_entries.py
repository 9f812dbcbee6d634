"""Lines of an audit export: written, read, and refused where they are none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertap.verification import (
    DELETION,
    GAP,
    RECORD,
    Envelope,
    Leaf,
    LoggedEntry,
    LogId,
    Tombstone,
    read_line,
    record_hash,
    write_entry,
    write_log,
)

SPOOL = b"s" * 16
SEQUENCES = st.integers(0, (1 << 63) - 1)
HASHES = st.binary(min_size=32, max_size=32)
FOUND = st.one_of(
    st.none(),
    st.builds(Envelope, HASHES, st.binary(min_size=16, max_size=16), st.binary(max_size=200)),
    st.builds(Tombstone, HASHES, st.text(max_size=10), SEQUENCES),
)


@given(st.integers(0, 1 << 40) | st.none(), SEQUENCES, HASHES, FOUND, SEQUENCES)
def test_records_are_read_as_written(index, sequence, hashed, found, stored_ns) -> None:
    """Every leaf of a record, with what is there of it."""
    stored_ns = stored_ns if index is None else 0
    entry = LoggedEntry(index, Leaf(RECORD, SPOOL, sequence, sequence, hashed), found, stored_ns)
    assert read_line(write_entry(entry)) == entry


@given(st.sampled_from([GAP, DELETION]), SEQUENCES, HASHES, st.text(max_size=60))
def test_gaps_and_deletions_are_read_as_written(kind, first, hashed, reason) -> None:
    """With their reasons, whatever those hold."""
    last = min(first + 5, (1 << 63) - 1) if kind == GAP else first
    entry = LoggedEntry(3, Leaf(kind, SPOOL, first, last, hashed, reason))
    line = write_entry(entry)
    assert line.count("\n") == 1
    assert read_line(line) == entry


def test_a_log_is_read_as_written() -> None:
    """The line that begins it."""
    log = LogId("acme", "2026-11-21", "ab" * 8)
    assert read_line(write_log(log)) == log
    assert str(log) == "acme/2026-11-21/abababababababab"


GOOD = json.loads(
    write_entry(LoggedEntry(0, Leaf(RECORD, SPOOL, 1, 1, bytes(32)), Envelope(b"p", b"s", b"r")))
)


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "other"},
        {"spool_id": "00"},
        {"hash": "zz"},
        {"hash": "00"},
        {"first": -1},
        {"first": 2},
        {"last": 1 << 64},
        {"index": "x"},
        {"index": []},
        {"record": "?"},
        {"previous_hash": 5},
    ],
)
def test_what_is_no_entry(changed: dict[str, object]) -> None:
    """Any field that says nothing sensible."""
    with pytest.raises(ValueError, match="not a line"):
        read_line(json.dumps(GOOD | changed))


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    """Anything at all is an entry, a log or a ValueError."""
    try:
        read_line(text)
    except ValueError:
        return


def test_leaves_tell_everything_apart() -> None:
    """No two leaves that differ in anything have one hash."""
    leaves = [
        Leaf(kind, spool, first, last, hashed, reason)
        for kind in (RECORD, GAP, DELETION)
        for spool in (SPOOL, b"t" * 16)
        for first, last in ((1, 1), (1, 2), (2, 2))
        for hashed in (bytes(32), b"h" * 32)
        for reason in ("", "evicted")
    ]
    assert len({leaf.hashed() for leaf in leaves}) == len(leaves)


def test_the_hash_is_that_of_the_spool() -> None:
    """One formula in pod, storage and verifier; the expected bytes are kept for ever."""
    hashed = record_hash(bytes(32), 7, b"0123456789abcdef", b"record")
    assert hashed.hex() == "ffd35ea628534213f173b2e4edca126173bd7c2ae14ef9dc666f8759e32385de"
