"""Files of the DuckDB engine that can't be read."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infertap import v1
from infertap.query import Query
from storage.archive import BY_REQUEST, ArchiveError, Interrupt, ModelRule, Retention, open_archive

if TYPE_CHECKING:
    from tests.storage.conftest import Making

MEMORY = 256 << 20
DAY = 86_400_000_000_000
NOW = 20_000 * DAY
SPOOL = b"s" * 16


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def scribble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)


def overwrite(path: Path) -> None:
    path.write_bytes(b"this is no database at all " * 1000)


HARM = [cut, empty, scribble, overwrite]


@pytest.fixture
def three_days(tmp_path: Path, making: "Making") -> Path:
    """Records 1, 2 and 3, each of its day; the engine has closed its files."""
    archive = open_archive(str(tmp_path), MEMORY)
    for day in range(3):
        archive.append([making.entry(day + 1)], NOW + day * DAY)
    archive.close()
    return tmp_path


@pytest.mark.parametrize("harm", HARM)
def test_damaged_day(three_days: Path, making: "Making", harm: Callable[[Path], None]) -> None:
    """It is set aside, told of and kept; the rest serves, and spools are asked for what it had."""
    day = sorted(three_days.glob("records-*.duckdb"))[1]
    harm(day)
    told: list[str] = []
    archive = open_archive(str(three_days), MEMORY, tell=lambda event, **_: told.append(event))
    assert told == ["archive file set aside"]
    page = archive.page(Query(), None, 10, Interrupt())
    assert [record.sequence for record in page.records] == [3, 1]
    assert archive.received(SPOOL) == [(1, 1), (3, 3)]
    (damage,) = archive.damages()
    assert damage.name == day.name
    assert (three_days / damage.kept_as).exists()
    assert archive.usage().damaged_files == 1
    assert [entry.sequence for entry in archive.append([making.entry(2)], NOW + 3 * DAY)] == [2]
    assert archive.received(SPOOL) == [(1, 3)]
    archive.close()
    again = open_archive(str(three_days), MEMORY, tell=lambda event, **_: told.append(event))
    assert len(told) == 1
    assert len(again.damages()) == 1
    again.close()


@pytest.mark.parametrize("name", ["feedback.duckdb", "kept.duckdb"])
@pytest.mark.parametrize("harm", HARM)
def test_damaged_small_file(three_days: Path, harm: Callable[[Path], None], name: str) -> None:
    """It begins anew; records are not touched by it."""
    harm(three_days / name)
    archive = open_archive(str(three_days), MEMORY)
    assert len(archive.page(Query(), None, 10, Interrupt()).records) == 3
    assert [damage.name for damage in archive.damages()] == [name]
    assert archive.attach([v1.Feedback(feedback_id="f", request_id="r")]) == [True]
    archive.close()


def test_damaged_log(tmp_path: Path, making: "Making") -> None:
    """A log that can't be replayed goes alone, and with it what came since the last checkpoint."""
    archive = open_archive(str(tmp_path), MEMORY)
    archive.append([making.entry(1)], NOW)
    archive.close()
    (day,) = tmp_path.glob("records-*.duckdb")
    day.with_name(day.name + ".wal").write_bytes(b"\x00garbage" * 500)
    archive = open_archive(str(tmp_path), MEMORY)
    assert archive.received(SPOOL) in ([(1, 1)], [])  # the engine may pass over a log that is none of its own
    assert len(archive.append([making.entry(2)], NOW)) == 1
    archive.close()


def test_all_files_damaged(three_days: Path, making: "Making") -> None:
    """An archive of nothing but damage is an empty one."""
    for path in three_days.glob("*.duckdb"):
        overwrite(path)
    archive = open_archive(str(three_days), MEMORY)
    assert archive.received(SPOOL) == []
    assert len(archive.damages()) == 6
    assert len(archive.append([making.entry(1)], NOW)) == 1
    archive.close()


def spoil_records(directory: Path, making: "Making") -> None:
    """Ten more for the second day; nothing of that file is unreadable but records."""
    archive = open_archive(str(directory), MEMORY)
    noise = random.Random(15).randbytes(100_000)
    archive.append([making.entry(n, request__data=b"%d" % n + noise) for n in range(10, 20)], NOW + DAY)
    archive.close()
    day = sorted(directory.glob("records-*.duckdb"))[1]
    content = bytearray(day.read_bytes())
    # Records are what looks like noise, whatever the engine makes of them.
    for start in range(0, len(content), 4096):
        if len(set(content[start : start + 4096])) > 240:
            content[start + 2000] ^= 1
    day.write_bytes(content)


@pytest.mark.parametrize("is_written_to", [False, True])
def test_damage_that_is_met_later(three_days: Path, making: "Making", is_written_to: bool) -> None:
    """A file whose records turn out to be unreadable is set aside once a query has met it, with the log that
    it has where it is written to.
    """
    spoil_records(three_days, making)
    told: list[str] = []
    archive = open_archive(str(three_days), MEMORY, tell=lambda event, **_: told.append(event))
    assert told == []
    if is_written_to:
        archive.append([making.entry(2), making.entry(30)], NOW + DAY)
    with pytest.raises(ArchiveError):
        archive.get(making.record(15).call_id)
    expired = archive.expire(Retention(), NOW)
    assert (expired.is_more, expired.has_forgotten) == (True, True)
    assert told == ["archive file set aside"]
    page = archive.page(Query(), None, 10, Interrupt())
    assert [record.sequence for record in page.records] == [3, 1]
    assert archive.received(SPOOL) == [(1, 1), (3, 3)]
    assert not archive.expire(Retention(), NOW).is_more
    archive.close()


@pytest.mark.parametrize("how", ["delete", "expire"])
def test_damage_that_removing_meets(three_days: Path, making: "Making", how: str) -> None:
    """A file that can't be rewritten for its damage, which no query has met, is set aside next."""
    archive = open_archive(str(three_days), MEMORY)
    archive.append([making.entry(5, model__name="old", path="/old")], NOW + DAY)
    archive.close()
    spoil_records(three_days, making)
    archive = open_archive(str(three_days), MEMORY)
    retention = Retention(ages=(ModelRule("old", DAY),))
    removes: dict[str, Callable[[], object]] = {
        "delete": lambda: archive.delete(Query(path="/old"), BY_REQUEST, NOW + 9 * DAY, Interrupt()),
        "expire": lambda: archive.expire(retention, NOW + 9 * DAY),
    }
    with pytest.raises(ArchiveError):
        removes[how]()
    assert archive.expire(retention, NOW + 9 * DAY).has_forgotten
    assert [each.sequence for each in archive.page(Query(), None, 10, Interrupt()).records] == [3, 1]
    archive.close()
