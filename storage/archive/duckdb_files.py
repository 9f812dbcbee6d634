"""Files of the DuckDB engine: how the engine is opened, and how a file comes to be, whole or not at all.

Touches the archive's directory. One engine instance opens all files, under one memory limit; it may touch
nothing outside the directory, and loads no extension. It never makes a checkpoint of its own accord, for that
would hold the commit that set it off for seconds (docs/decisions/0018): duckdb_checkpoints does.
"""

import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import duckdb

from storage.archive.interface import ArchiveError

# A file that is being made: a new one, by who needs it at once; one that takes the place of another.
NEW: Final = "new"
REWRITTEN: Final = "rewritten"
# What an engine makes of one file beside it.
WAL: Final = ".wal"
# A row group is what a file is written in. A commit of so many rows, the least that the engine takes, goes
# straight into the file, and the log only names it; smaller ones go into the log. When a log is worked in,
# neighbours that fit one row group are joined, and so written again: of the engine's own 122,880 rows that is
# everything five times over, for seconds at a time.
_ROWS_OF_GROUP: Final = 2048
# What a file is read in; a file keeps what it was made with. Of a row group most columns are a few KiB: in
# the engine's own blocks of 256 KiB some twenty of them lie in one, and whoever wants four reads all.
_BLOCK_BYTES: Final = 32 << 10
# Errors are told apart by a part of their message, in lower case; on the right is what is told of them.
# What a sound file may meet with: a disk that is full or failing, a limit, an engine of another version.
OUTSIDE: Final = {
    "no space left": "No space left on device",
    "quota": "Disk quota exceeded",
    "permission denied": "Permission denied",
    "too many open files": "Too many open files",
    "input/output error": "Input/output error",
    "file too large": "File too large",
    "out of memory": "the engine's memory is used up (INFERTAP_ARCHIVE_MEMORY_BYTES)",
    "has been invalidated": "a file can't be used until it is opened again",
    "lock on file": "another process uses a file",
    "version number": "a file is of another version of the engine",
}
_SAID: Final = {
    **OUTSIDE,
    "corrupt database file": "a checksum differs",
    "not a valid duckdb database": "no file of the engine",
}


def claim(directory: Path) -> int:
    """Hold the archive's lock; raises ArchiveError where another process has it."""
    lock = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise ArchiveError(f"{directory}: another storage uses this archive") from None
    return lock


def connect(directory: Path, memory_bytes: int) -> "duckdb.DuckDBPyConnection":
    """The engine, that sees nothing but `directory`. Raises duckdb.Error and OSError."""
    spill = directory / "tmp"
    spill.mkdir(exist_ok=True, mode=0o700)
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{memory_bytes >> 20}MiB",
            "temp_directory": str(spill),
            "threads": 2,
            "checkpoint_threshold": "1TiB",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
        },
    )
    connection.execute(f"SET allowed_directories = ['{quoted(directory)}']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def make_file(
    connection: "duckdb.DuckDBPyConnection",
    path: Path,
    create: Sequence[str],
    fill: Callable[[str], None] | None = None,
    draft: str = NEW,
) -> None:
    """Make a file of the tables that `create` tells of, with {file} for where they are to be; `fill` is given
    its attached name, and may write to it.

    It gets its name once it is whole: a full disk or a kill leaves no broken one. One at a time makes a file
    under the name of one `draft`. Raises duckdb.Error and OSError.
    """
    attached = f"{draft}_file"
    made = path.with_name(f"{draft}.duckdb")
    connection.execute(f"DETACH DATABASE IF EXISTS {attached}")
    remove(made)
    connection.execute(
        f"ATTACH '{quoted(made)}' AS {attached} (ROW_GROUP_SIZE {_ROWS_OF_GROUP}, BLOCK_SIZE {_BLOCK_BYTES})"
    )
    for statement in create:
        connection.execute(statement.format(file=attached))
    if fill is not None:
        fill(attached)
    connection.execute(f"CHECKPOINT {attached}")
    connection.execute(f"DETACH {attached}")
    made.chmod(0o600)
    made.rename(path)
    sync_directory(path.parent)


def attach(connection: "duckdb.DuckDBPyConnection", path: Path, name: str) -> None:
    """Open a file as `name`, where it isn't open. Raises duckdb.Error."""
    connection.execute(f"ATTACH IF NOT EXISTS '{quoted(path)}' AS {name} (ROW_GROUP_SIZE {_ROWS_OF_GROUP})")


def remove(path: Path) -> None:
    """Remove an engine's file and its log; harmless where there is none. Raises OSError."""
    for each in (path.with_name(path.name + WAL), path):
        each.unlink(missing_ok=True)


def wal_bytes(path: Path) -> int:
    """How long the log beside a file is."""
    return size_of(path.with_name(path.name + WAL))


def size_of(path: Path) -> int:
    """How long a file is; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def quoted(path: Path) -> str:
    """`path` as it stands between quotation marks."""
    return str(path).replace("'", "''")


def said(error: "duckdb.Error") -> str:
    """What the engine says, in words that are ours: its own may name files, and quote what is in them."""
    text = str(error).lower()
    known = next((sentence for part, sentence in _SAID.items() if part in text), None)
    return known or f"the engine failed: {type(error).__name__.removesuffix('Exception')}"


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
