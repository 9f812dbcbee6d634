"""Begun: a deletion of the DuckDB engine that is ended once it has begun, also by the start after a kill.

    ARCHIVE/begun.duckdb    from before anything is deleted until all is
        schema  version                                  see duckdb_schema
        doomed  call_id, spool_id, request_id, tenant    the calls that go
        doom    reason, now_ns                           why, and since when

Calls that were chosen by their feedback are found by nobody once half of it is done. Touches that file.
"""

from pathlib import Path
from typing import Any, Final

import duckdb

from storage.archive.duckdb_damage import damaged
from storage.archive.duckdb_files import REWRITTEN, attach, make_file, remove, sync_directory
from storage.archive.duckdb_schema import CREATE_VERSION, create_table, version_of

# The calls that go: columns and their types.
DOOMED_COLUMNS: Final = {
    "call_id": "VARCHAR",
    "spool_id": "BLOB",
    "request_id": "VARCHAR",
    "tenant": "VARCHAR",
}
_NAME: Final = "begun"
_CREATE: Final = (
    *CREATE_VERSION,
    create_table("doomed", DOOMED_COLUMNS),
    create_table("doom", {"reason": "VARCHAR", "now_ns": "BIGINT"}),
)


def has_begun(directory: Path) -> bool:
    """Whether there is one."""
    return _path(directory).exists()


def note_begun(
    cursor: "duckdb.DuckDBPyConnection", directory: Path, doomed: str, reason: str, now_ns: int
) -> None:
    """The calls in the table `doomed` are going to be deleted; durable on return. Raises duckdb.Error and
    OSError.
    """

    def fill(new: str) -> None:
        cursor.execute(f"INSERT INTO {new}.doomed SELECT * FROM {doomed}")  # noqa: S608
        cursor.execute(f"INSERT INTO {new}.doom VALUES (?, ?)", [reason, now_ns])  # noqa: S608

    make_file(cursor, _path(directory), _CREATE, fill, REWRITTEN)


def take_up_begun(cursor: "duckdb.DuckDBPyConnection", directory: Path, doomed: str) -> tuple[str, int]:
    """Put the calls of the deletion that was begun into the table `doomed`; its reason and time. Raises
    DamagedError, duckdb.Error, OSError and NewerSchemaError.
    """
    try:
        return _read(cursor, directory, doomed)
    except duckdb.Error as error:
        raise damaged(_path(directory), error) from None


def forget_begun(directory: Path) -> None:
    """Nothing is begun any more. Raises OSError."""
    remove(_path(directory))
    sync_directory(directory)


def _read(cursor: "duckdb.DuckDBPyConnection", directory: Path, doomed: str) -> tuple[str, int]:
    attach(cursor, _path(directory), _NAME)
    try:
        version_of(cursor, _NAME)
        cursor.execute(f"INSERT INTO {doomed} SELECT * FROM {_NAME}.doomed")  # noqa: S608
        row: Any = cursor.execute(f"SELECT reason, now_ns FROM {_NAME}.doom").fetchone()  # noqa: S608
        return str(row[0]), int(row[1])
    finally:
        cursor.execute(f"DETACH {_NAME}")


def _path(directory: Path) -> Path:
    return directory / f"{_NAME}.duckdb"
