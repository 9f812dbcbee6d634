"""Damage: a file that the engine can't read is set aside, so that the rest goes on.

    ARCHIVE/damaged-1767225600000000000-records-2026-11-21-0001.0.duckdb      when it was found, its name
    ARCHIVE/damaged-1767225600000000000-records-2026-11-21-0001.0.duckdb.wal  the same of its log

First only the log is: the file without it is what it was at its last checkpoint. Nothing is deleted, since
somebody may still read what is left of it; it counts as the archive's on disk.
"""

from pathlib import Path
from typing import Final

import duckdb

from storage.archive.duckdb_files import OUTSIDE, WAL, said, sync_directory
from storage.archive.removals import Damage

PREFIX: Final = "damaged-"
_KINDS: Final = (
    duckdb.IOException,
    duckdb.SerializationException,
    duckdb.InternalException,
    duckdb.FatalException,
)
# A checksum that differs has no kind of its own.
_CORRUPT: Final = "corrupt database file"


class DamagedError(Exception):
    """A file can't be read."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path.name}: {why}")
        self.path = path
        self.why = why


def is_damage(error: "duckdb.Error") -> bool:
    """Whether that says of a file that its content is wrong."""
    text = str(error).lower()
    if any(each in text for each in OUTSIDE):
        return False
    return isinstance(error, _KINDS) or _CORRUPT in text


def damaged(path: Path, error: "duckdb.Error") -> Exception:
    """What to raise for an error that came of using that file."""
    return DamagedError(path, said(error)) if is_damage(error) else error


def set_aside(path: Path, found_ns: int, why: str, *, whole: bool = False) -> Damage:
    """Rename the log of that file, or the file where it has none; with `whole` both. Raises OSError."""
    wal = path.with_name(path.name + WAL)
    has_log = wal.exists() and wal.stat().st_size > 0
    if has_log:
        wal.rename(path.with_name(f"{PREFIX}{found_ns}-{wal.name}"))
    wal.unlink(missing_ok=True)
    chosen = path if whole or not has_log else wal
    kept_as = f"{PREFIX}{found_ns}-{chosen.name}"
    if chosen == path:
        path.rename(path.with_name(kept_as))
    sync_directory(path.parent)
    return Damage(chosen.name, kept_as, found_ns, why)
