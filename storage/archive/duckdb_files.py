"""Files of the DuckDB engine: how one comes to be, whole or not at all. Touches the archive's directory."""

import os
from collections.abc import Sequence
from pathlib import Path

import duckdb


def make_file(connection: "duckdb.DuckDBPyConnection", path: Path, create: Sequence[str]) -> None:
    """Make a file of the tables that `create` tells of, with {file} for where they are to be.

    It gets its name once it is whole: a full disk or a kill leaves no broken one. Raises duckdb.Error and
    OSError.
    """
    draft = path.with_name("new.duckdb")
    connection.execute("DETACH DATABASE IF EXISTS new_file")
    for left in (draft, draft.with_name("new.duckdb.wal")):
        left.unlink(missing_ok=True)
    connection.execute(f"ATTACH '{quoted(draft)}' AS new_file")
    for statement in create:
        connection.execute(statement.format(file="new_file"))
    connection.execute("CHECKPOINT new_file")
    connection.execute("DETACH new_file")
    draft.chmod(0o600)
    draft.rename(path)
    _sync_directory(path.parent)


def quoted(path: Path) -> str:
    """`path` as it stands between quotation marks."""
    return str(path).replace("'", "''")


def _sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
