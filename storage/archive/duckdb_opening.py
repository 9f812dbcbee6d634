"""Opening of the DuckDB engine: all files attached, older ones brought forward, damaged ones set aside.

An engine that met a damaged file may hold on to what it read of it, so it is begun again without the file.
"""

import contextlib
import functools
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from storage.archive.columns import FILE_VERSION
from storage.archive.duckdb_audit import FILE as AUDIT_FILE
from storage.archive.duckdb_audit import AuditTables
from storage.archive.duckdb_checkpoints import Checkpoints
from storage.archive.duckdb_damage import DamagedError, damaged, set_aside
from storage.archive.duckdb_examining import Examining
from storage.archive.duckdb_feedback import FeedbackTable, feedback_path
from storage.archive.duckdb_files import NEW, REWRITTEN, attach, connect, remove, wal_bytes
from storage.archive.duckdb_kept import FILE as KEPT_FILE
from storage.archive.duckdb_kept import Kept
from storage.archive.duckdb_migration import migrate_part
from storage.archive.duckdb_parts import Part, Parts, parts_in
from storage.archive.duckdb_schema import NewerSchemaError, version_of
from storage.archive.duckdb_writing import Writing
from storage.archive.interface import ArchiveError
from storage.archive.removals import Damage

_LONG_LOG_BYTES: Final = 16 << 20
# The folder of duckdb_snapshot.
SNAPSHOT: Final = "snapshot"
# Files that are made, and put aside again, at one start: beyond, the disk is at fault.
_MOST_DAMAGED: Final = 1000

# What is told while it takes long: an event, and facts of it.
Tell = Callable[..., object]


@dataclass(frozen=True, slots=True)
class Opened:
    """An engine with all files of an archive."""

    connection: "duckdb.DuckDBPyConnection"
    checkpoints: Checkpoints
    parts: Parts
    kept: Kept
    feedback: FeedbackTable
    audit: AuditTables
    writing: Writing
    examining: Examining

    def tend(self) -> None:
        """Work long logs into the files that are not written to, or not for anybody's ack."""
        self.parts.tend()
        others = {self.feedback.name: self.feedback.path} | {
            path.stem: path for path in (self.parts.directory / KEPT_FILE, self.parts.directory / AUDIT_FILE)
        }
        for name, path in others.items():
            if wal_bytes(path) >= _LONG_LOG_BYTES:
                self.checkpoints.begin(name, path)

    def close(self) -> None:
        """Let all files go."""
        self.writing.close()
        self.checkpoints.close()
        for each in (self.feedback, self.audit, self.kept):
            each.close()
        self.connection.close()


def open_files(directory: Path, memory_bytes: int, part_bytes: int, tell: Tell) -> Opened:
    """Raises ArchiveError, duckdb.Error and OSError."""
    found: list[Damage] = []
    while True:
        connection = connect(directory, memory_bytes)
        try:
            opened = _open_all(connection, directory, part_bytes, tell)
        except DamagedError as error:
            connection.close()
            if len(found) == _MOST_DAMAGED:
                raise ArchiveError(str(error)) from None
            found.append(set_aside(error.path, time.time_ns(), error.why))
            tell("archive file set aside", name=found[-1].name, kept_as=found[-1].kept_as, why=error.why)
        except BaseException:
            connection.close()
            raise
        else:
            for each in found:
                opened.kept.note_damage(each)
            return opened


def _open_all(
    connection: "duckdb.DuckDBPyConnection", directory: Path, part_bytes: int, tell: Tell
) -> Opened:
    with _looking_at(directory / KEPT_FILE):
        kept = Kept.open(connection, directory)
    _clear(directory)
    checkpoints = Checkpoints(connection)
    parts = Parts(connection, directory, part_bytes, checkpoints)
    _attach_parts(connection, parts, tell)
    with _looking_at(feedback_path(directory)):
        feedback = FeedbackTable.open(connection, directory)
    with _looking_at(directory / AUDIT_FILE):
        audit = AuditTables.open(connection, directory, lambda: _reading(parts))
    writing = Writing(connection, parts, kept)
    writing.recall()
    examining = Examining(connection, parts, kept, writing, tell)
    return Opened(connection, checkpoints, parts, kept, feedback, audit, writing, examining)


@contextlib.contextmanager
def _reading(parts: Parts) -> Iterator[list[tuple[str, str]]]:
    """What the files are attached as, and their days, for as long as it lasts."""
    with parts.reading() as there:
        yield [(part.name, part.day) for part in there]


def _clear(directory: Path) -> None:
    """Remove what a kill left of files that were being made."""
    for draft in (NEW, REWRITTEN):
        remove(directory / f"{draft}.duckdb")
    shutil.rmtree(directory / SNAPSHOT, ignore_errors=True)


def _attach_parts(connection: "duckdb.DuckDBPyConnection", parts: Parts, tell: Tell) -> None:
    latest, void = parts_in(parts.directory)
    for part in void:
        remove(part.path)
    older: list[tuple[Part, int]] = []
    for part in latest:
        with _looking_at(part.path):
            version = _take_up(connection, part)
            if version == FILE_VERSION:
                _look_over(connection, part)
                parts.attach(part)
            else:
                older.append((part, version))
    for number, (part, version) in enumerate(older, 1):
        tell("archive file brought to a newer schema", name=part.path.name, file=number, files=len(older))
        under_way = functools.partial(tell, "archive file under way", name=part.path.name)
        with _looking_at(part.path):
            made = migrate_part(connection, part, version, under_way)
            if made == part:
                _look_over(connection, part)
            else:
                connection.execute(f"DETACH {part.name}")
                remove(part.path)
        parts.attach(made)


def _take_up(connection: "duckdb.DuckDBPyConnection", part: Part) -> int:
    """Attach the file; its version."""
    attach(connection, part.path, part.name)
    return version_of(connection, part.name)


def _look_over(connection: "duckdb.DuckDBPyConnection", part: Part) -> None:
    """Read what a start needs of a file: the rest may be many gigabytes, and is looked at when it is read."""
    ranges = f"bit_xor(hash(spool_id, first, last, is_gap)) FROM {part.name}.received"
    connection.execute(f"SELECT {ranges}").fetchone()


@contextlib.contextmanager
def _looking_at(path: Path) -> Iterator[None]:
    """What opening that file may meet with. Raises ArchiveError where it is newer than this code."""
    try:
        yield
    except NewerSchemaError as error:
        raise ArchiveError(f"{path.name} was {error}") from None
    except duckdb.Error as error:
        raise damaged(path, error) from None
