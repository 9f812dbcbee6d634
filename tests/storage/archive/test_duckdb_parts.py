"""Tests of which file of the DuckDB engine is written to, when, and what is written twice."""

import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infertap.query import Query, StatsQuery
from storage.archive import Interrupt
from storage.archive.duckdb_archive import DuckdbArchive
from storage.archive.duckdb_checkpoints import Checkpoints
from storage.archive.duckdb_files import connect, size_of, wal_bytes
from storage.archive.duckdb_parts import Parts

if TYPE_CHECKING:
    from tests.storage.conftest import Making

MEMORY = 256 << 20
FULL_COMMIT = 2048
DAY = "2026-11-21"
NOW = 1_795_262_400_000_000_000
SOME = "SELECT 'spool'::BLOB, i, i, false, NULL, uuid()::VARCHAR::BLOB, 1, '' FROM range(1000) t(i)"


class _NeverDone(Checkpoints):
    """A disk too slow to work any log in."""

    waits: list[float]

    def begin(self, name: str, path: Path) -> None:  # type: ignore[override]
        """Never done."""

    def is_under_way(self, name: str) -> bool:
        """Always."""
        return True

    def wait(self, name: str, seconds: float) -> None:
        """Who would wait, goes on."""
        self.waits.append(seconds)


def _record_files(directory: Path) -> list[Path]:
    return sorted(directory.glob("records-*.duckdb"))


def test_full_commit_is_written_once(tmp_path: Path, making: "Making") -> None:
    """2,048 records of one commit go straight into their file; the log only names them, and a copy taken as a
    kill would leave it has them all."""
    archive = DuckdbArchive.open(tmp_path / "archive", MEMORY)
    archive.append([making.entry(n) for n in range(1, FULL_COMMIT + 1)], NOW)
    (path,) = _record_files(tmp_path / "archive")
    assert wal_bytes(path) < size_of(path) / 4
    shutil.copytree(tmp_path / "archive", tmp_path / "copy")
    archive.close()
    copy = DuckdbArchive.open(tmp_path / "copy", MEMORY)
    assert copy.received(making.entry(1).spool_id) == [(1, FULL_COMMIT)]
    assert copy.get(making.entry(FULL_COMMIT).parsed.call_id) is not None
    copy.close()


def test_figures_read_little(tmp_path: Path, making: "Making") -> None:
    """What a question needs of a file lies in blocks of its own: figures of all calls read a twentieth."""
    archive = DuckdbArchive.open(tmp_path / "archive", MEMORY)
    for commit in range(4):
        first = commit * FULL_COMMIT + 1
        entries = [
            making.entry(n, request__data=random.Random(n).randbytes(1024))
            for n in range(first, first + FULL_COMMIT)
        ]
        archive.append(entries, NOW + commit)
    archive.close()
    again = DuckdbArchive.open(tmp_path / "archive", MEMORY)
    (path,) = _record_files(tmp_path / "archive")
    before = _bytes_read()
    (row,) = again.stats(StatsQuery(Query(), ()), Interrupt()).rows
    assert row.records == 4 * FULL_COMMIT
    assert _bytes_read() - before < size_of(path) / 20
    again.close()


def _bytes_read() -> int:
    """By this process, from files and what else it reads."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_full_file_is_left(tmp_path: Path, making: "Making") -> None:
    """Once a file is as large as files get, the next commit goes to another, however short its log is."""
    archive = DuckdbArchive.open(tmp_path / "archive", MEMORY, part_bytes=256 << 10)
    for first in (1, 1 + FULL_COMMIT):
        archive.append([making.entry(n) for n in range(first, first + FULL_COMMIT)], NOW)
    assert len(_record_files(tmp_path / "archive")) > 1
    assert archive.received(making.entry(1).spool_id) == [(1, 2 * FULL_COMMIT)]
    archive.close()


def test_commits_slow_down(tmp_path: Path) -> None:
    """While the other file's log is worked in, commits wait longer the longer this one's is, and stop
    only where it may get no longer."""
    connection = connect(tmp_path, MEMORY)
    work = _NeverDone(connection)
    work.waits = []
    parts = Parts(connection, tmp_path, 1 << 20, work)
    for _ in range(60):
        if len(work.waits) > 1 and work.waits[-1] > 1:
            break
        name = parts.filling(DAY).name
        connection.execute(f"INSERT INTO {name}.received {SOME}")
    *gentle, last = work.waits
    assert len(gentle) > 3
    assert gentle == sorted(gentle)
    assert 0 < gentle[0] < gentle[-1] <= 0.25
    assert last == pytest.approx(60.0)
    work.close()
    connection.close()
