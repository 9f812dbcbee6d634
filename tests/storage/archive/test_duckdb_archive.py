"""The DuckDB engine on disks that are full."""

import contextlib
import random
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infertap.query import Query
from storage.archive import ArchiveError, Interrupt, Retention, open_archive

if TYPE_CHECKING:
    from tests.storage.conftest import Making

MEMORY = 256 << 20
DAY = 86_400_000_000_000
NOW = 20_000 * DAY


@contextlib.contextmanager
def full_disk(file_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond that size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("file_bytes", [0, 4096, 8192, 12_288, 40_000])
def test_full_disk_when_a_day_begins(tmp_path: Path, making: "Making", file_bytes: int) -> None:
    """Nothing is kept meanwhile, appends succeed once there is room again, a restart finds all."""
    archive = open_archive(str(tmp_path), MEMORY)
    archive.append([making.entry(1)], NOW)
    with full_disk(file_bytes), pytest.raises(ArchiveError):
        archive.append([making.entry(2)], NOW + DAY)
    assert archive.received(b"s" * 16) == [(1, 1)]
    archive.append([making.entry(2)], NOW + DAY)
    archive.close()
    again = open_archive(str(tmp_path), MEMORY)
    assert again.received(b"s" * 16) == [(1, 2)]
    again.close()


def test_day_file_that_was_never_whole(tmp_path: Path, making: "Making") -> None:
    """A process killed while it makes a day's file leaves an archive that opens, and can make that file."""
    open_archive(str(tmp_path), MEMORY).close()
    (tmp_path / "new.duckdb").write_bytes(b"half")
    (tmp_path / "new.duckdb.wal").write_bytes(b"half")
    archive = open_archive(str(tmp_path), MEMORY)
    assert len(archive.append([making.entry(1)], NOW)) == 1
    archive.close()


@pytest.mark.parametrize("file_bytes", [1 << 20, 3 << 20, 4 << 20, 6 << 20])
def test_full_disk_while_logs_are_worked_in(tmp_path: Path, making: "Making", file_bytes: int) -> None:
    """Whatever the engine gives up meanwhile, it goes on once there is room again, with each record once."""
    noise = random.Random(3)
    archive = open_archive(str(tmp_path), MEMORY, disk_bytes=64 << 20)
    sequence, refused = 0, 0

    def write(batches: int) -> None:
        nonlocal sequence, refused
        for _ in range(batches):
            entries = [
                making.entry(sequence + n, request__data=noise.randbytes(40_000)) for n in range(1, 26)
            ]
            try:
                archive.append(entries, NOW)
                sequence += 25
            except ArchiveError:
                refused += 1

    write(2)
    with full_disk(file_bytes):
        write(20)
        with contextlib.suppress(ArchiveError):
            archive.page(Query(), None, 10, Interrupt())
    before = refused
    write(10)
    assert refused - before <= 1
    archive.expire(Retention(), NOW)
    assert archive.count(Query(), Interrupt()) == sequence
    archive.close()
    again = open_archive(str(tmp_path), MEMORY)
    assert again.received(b"s" * 16) == [(1, sequence)]
    assert again.count(Query(), Interrupt()) == sequence
    assert again.damages() == []
    again.close()
