"""How the DuckDB engine's files hold records."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from infertap import v1
from storage.archive import ArchiveError
from storage.archive.duckdb_packing import packed, unpacked

TEXT = b"the model reads a question and writes what is likely to follow it " * 30


@pytest.mark.parametrize("record", [b"", b"\x01", b"\x01\x02\x03", b"\x0a\x01x", TEXT, os.urandom(2048)])
def test_what_is_packed_comes_back(record: bytes) -> None:
    """Whatever the bytes are, also those that look packed, and in hardly more room."""
    (held,) = packed([record])
    assert unpacked(held) == record
    assert len(held) <= len(record) + 16


def test_text_gets_smaller() -> None:
    """A record of text is held in a fraction of its bytes, each on its own."""
    one, other = packed([TEXT, TEXT])
    assert one == other
    assert len(one) < len(TEXT) // 10


def test_what_gets_no_smaller_is_held_as_it_is() -> None:
    """As are all records of schema 2."""
    noise = b"\x0a" + os.urandom(2047)
    assert packed([noise]) == [noise]
    assert unpacked(TEXT) == TEXT


def test_no_record_begins_as_packed_ones() -> None:
    """Which is how the two are told apart: no parser takes a field of number 0."""
    with pytest.raises(Exception, match="parsing"):
        v1.Record.FromString(b"\x01" + bytes(8))


@pytest.mark.parametrize("held", [b"\x01", b"\x01no frame", packed([TEXT])[0][:-7]])
def test_what_can_not_be_unpacked(held: bytes) -> None:
    """It is said in one line, without what it holds."""
    with pytest.raises(ArchiveError, match="a record can't be unpacked"):
        unpacked(held)


def test_many_threads() -> None:
    """Each has its own context: what one unpacks is not another's."""
    records = [bytes([n]) * 5000 + os.urandom(50) for n in range(2, 66)]
    with ThreadPoolExecutor(8) as threads:
        held = list(threads.map(lambda each: packed([each])[0], records * 8))
        assert list(threads.map(unpacked, held)) == records * 8
