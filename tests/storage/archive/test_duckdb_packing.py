"""Records as the DuckDB engine's files hold them."""

from collections.abc import Callable

import pytest

from storage.archive import ArchiveError
from storage.archive.duckdb_packing import packed, unpacked

RECORD = b"\x0a\x03abc" * 100


def test_there_and_back() -> None:
    """What compresses is held shorter, what does not as it is; both come back."""
    records = [RECORD, b"\x0a\x03abc", b"\x01" * 40, b""]
    assert [unpacked(each) for each in packed(records)] == records
    assert len(packed([RECORD])[0]) < len(RECORD)


@pytest.mark.parametrize("change", [lambda held: held + b"x", lambda held: held[:-1], lambda _: b"\x01"])
def test_what_was_changed(change: Callable[[bytes], bytes]) -> None:
    """Bytes behind a frame, too few of it, or none: no record, so that nothing can be hidden in a row."""
    with pytest.raises(ArchiveError, match="can't be unpacked"):
        unpacked(change(packed([RECORD])[0]))
