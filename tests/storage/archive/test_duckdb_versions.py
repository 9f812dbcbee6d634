"""Archives of other schema versions."""

import shutil
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from infertap import v1
from infertap.query import Query
from storage.archive import ArchiveError, Interrupt, open_archive
from tests.storage.archive import version_1

if TYPE_CHECKING:
    from tests.storage.conftest import Making

MEMORY = 256 << 20
SECOND = 1_000_000_000
DAY = 86_400 * SECOND
NOW = 1_767_225_600 * SECOND
SPOOL = b"s" * 16


def key(text: str) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big")


@pytest.fixture
def old(tmp_path: Path, making: "Making") -> Path:
    """Two days of version 1: records 1 to 3 and 11 to 13, gaps behind them, feedback to the first."""
    for day in range(2):
        entries = [
            making.entry(10 * day + n, model__name="iris", caller__session=f"s-{n}") for n in range(1, 4)
        ]
        gap = making.gap(10 * day + 4, 10 * day + 5)
        version_1.make_day(tmp_path / "archive", f"2026-01-0{day + 1}", entries, gap, NOW + day * DAY)
    given = v1.Feedback(feedback_id="f-1", request_id="r-1", rating=4)
    given.received_at.FromNanoseconds(NOW)
    version_1.make_feedback(tmp_path / "archive", given, (key("f-1"), key("request:r-1")))
    return tmp_path / "archive"


def test_version_1_is_brought_forward(old: Path, making: "Making") -> None:
    """Everything is there, and is found by columns that there were none of; it is told while it lasts."""
    told: list[tuple[str, object]] = []
    archive = open_archive(str(old), MEMORY, tell=lambda event, **facts: told.append((event, facts["name"])))
    page = archive.page(Query(session="s-2"), None, 10, Interrupt())
    assert [record.sequence for record in page.records] == [12, 2]
    record = archive.get(making.record(1).call_id)
    assert record is not None
    assert (record.stored_at.ToNanoseconds(), record.tenant) == (NOW, "")
    archive.join_feedback([record], 1 << 20)
    assert [each.rating for each in record.feedback] == [4]
    assert archive.received(SPOOL) == [(1, 5), (11, 15)]
    assert archive.append([making.entry(1)], NOW + 2 * DAY) == []
    assert archive.attach([v1.Feedback(feedback_id="f-1", request_id="r-1", rating=5)]) == [False]
    archive.close()
    assert [name for event, name in told if "newer schema" in event] == [
        "records-2026-01-01.duckdb",
        "records-2026-01-02.duckdb",
    ]
    assert not list(old.glob("records-2026-01-0?.duckdb"))


def test_forward_once(old: Path) -> None:
    """A second start finds nothing to do."""
    open_archive(str(old), MEMORY).close()
    told: list[str] = []
    archive = open_archive(str(old), MEMORY, tell=lambda event, **_: told.append(event))
    assert told == []
    assert archive.received(SPOOL) == [(1, 5), (11, 15)]
    archive.close()


def test_killed_while_it_was_brought_forward(old: Path) -> None:
    """Whether it came before the new file had its name, or before the old one went: all is there once."""
    before = old.parent / "before"
    shutil.copytree(old, before)
    open_archive(str(old), MEMORY).close()
    # The old file of one day is still there beside its successor; of the other there is but a draft.
    shutil.copy(before / "records-2026-01-01.duckdb", old)
    (old / "records-2026-01-02-0000.1.duckdb").unlink()
    shutil.copy(before / "records-2026-01-02.duckdb", old)
    (old / "rewritten.duckdb").write_bytes(b"half")
    archive = open_archive(str(old), MEMORY)
    page = archive.page(Query(), None, 100, Interrupt())
    assert [record.sequence for record in page.records] == [13, 12, 11, 3, 2, 1]
    archive.close()


@pytest.mark.parametrize("name", ["records", "kept", "feedback"])
def test_newer_schema(tmp_path: Path, making: "Making", name: str) -> None:
    """Storage refuses to start, in one line that says why, and leaves everything as it is."""
    archive = open_archive(str(tmp_path), MEMORY)
    archive.append([making.entry(1)], NOW)
    archive.close()
    (path,) = tmp_path.glob(f"{name}*.duckdb")
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE schema SET version = 99")
    before = path.read_bytes()
    with pytest.raises(ArchiveError, match=r"written by a newer infertap \(schema 99") as refused:
        open_archive(str(tmp_path), MEMORY)
    assert path.name in str(refused.value)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("damaged-*"))


@pytest.fixture
def second(tmp_path: Path, making: "Making") -> Path:
    """Version 2, which held records as they are: 1 to 3, compressible."""
    entries = [making.entry(n, request__data=b"say it again, " * 50) for n in range(1, 4)]
    archive = open_archive(str(tmp_path / "archive"), MEMORY)
    archive.append(entries, NOW)
    archive.close()
    (path,) = (tmp_path / "archive").glob("records-*.duckdb")
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE schema SET version = 2")
        for entry in entries:
            held = [entry.record, entry.sequence]
            connection.execute("UPDATE records SET record = ? WHERE sequence = ?", held)
    return tmp_path / "archive"


def test_version_2_stays_where_it_is(second: Path, making: "Making") -> None:
    """Its records are read beside those that come into the same file, which is neither copied nor renamed."""
    names = {path.name for path in second.glob("records-*")}
    told: list[str] = []
    for start in range(2):
        archive = open_archive(str(second), MEMORY, tell=lambda event, **_: told.append(event))
        archive.append([making.entry(4, request__data=b"say it again, " * 50)], NOW)
        page = archive.page(Query(text="say it"), None, 10, Interrupt())
        assert [record.sequence for record in page.records] == [4, 3, 2, 1], start
        assert {record.request.data for record in page.records} == {b"say it again, " * 50}
        archive.close()
    assert {path.name for path in second.glob("records-*")} == names
    assert told == ["archive file brought to a newer schema"]


def test_records_are_held_packed(second: Path, making: "Making") -> None:
    """What this version writes is packed, which version 2 could not read: so the file is not of version 2."""
    archive = open_archive(str(second), MEMORY)
    archive.append([making.entry(4, request__data=b"say it again, " * 50)], NOW)
    archive.close()
    (path,) = second.glob("records-*.duckdb")
    with duckdb.connect(str(path)) as connection:
        held = connection.execute(
            "SELECT sequence, octet_length(record) < record_bytes FROM records"
        ).fetchall()
        assert sorted(held) == [(1, False), (2, False), (3, False), (4, True)]
        assert connection.execute("SELECT version FROM schema").fetchall() == [(3,)]
