"""Snapshot of the DuckDB engine: files that stay as they are, while the archive goes on.

    ARCHIVE/snapshot/    while one lasts: other names of the files of records, copies of the small files

Files of records are never changed once they are not written to any more, so a second name is a copy that
costs nothing; those that are written to are retired first. All that was appended before is in it.
"""

import contextlib
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb

from storage.archive.duckdb_files import make_file, said, sync_directory
from storage.archive.duckdb_opening import SNAPSHOT, Opened
from storage.archive.interface import ArchiveError
from storage.archive.removals import SnapshotFile


@contextlib.contextmanager
def take_snapshot(
    opened: Opened, directory: Path, removing: threading.Lock
) -> Iterator[Sequence[SnapshotFile]]:
    """See Archive; whoever holds `removing` rewrites and drops files. Raises ArchiveError."""
    folder = directory / SNAPSHOT
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise ArchiveError("another backup is under way") from None
    try:
        try:
            with removing:
                _fill(opened, folder)
        except duckdb.Error as error:
            raise ArchiveError(said(error)) from None
        yield [SnapshotFile(path.name, path, path.stat().st_size) for path in sorted(folder.iterdir())]
    except OSError as error:
        raise ArchiveError(error.strerror or type(error).__name__) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fill(opened: Opened, folder: Path) -> None:
    parts = opened.parts.all
    for part in parts:
        opened.writing.retire(part)
    for part in parts:
        (folder / part.path.name).hardlink_to(part.path)
    with opened.connection.cursor() as cursor:
        # What each is attached as, and the name of its copy.
        for name, called in ((opened.feedback.name, "feedback"), ("audit", "audit"), ("kept", "kept")):

            def copy(new: str, name: str = name) -> None:
                cursor.execute(f"COPY FROM DATABASE {name} TO {new}")

            make_file(cursor, folder / f"{called}.duckdb", (), copy, "copied")
    sync_directory(folder)
