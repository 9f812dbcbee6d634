"""Migration: making the tables of a ClickHouse archive, and checking that they are there."""

import time

from storage.archive.clickhouse_connection import Connection
from storage.archive.clickhouse_tables import META, create_statements, version_row
from storage.archive.columns import SCHEMA_VERSION
from storage.archive.interface import ArchiveError

_MISSING = "the tables are not there; make them with: infertap storage migrate"


def migrate(connection: Connection) -> int | None:
    """Make what is not there; returns the version there was before, None for none. Raises ArchiveError."""
    before = read_version(connection)
    if before is not None and before > SCHEMA_VERSION:
        raise ArchiveError(_newer(before))
    location = connection.location
    for statement in create_statements(location.database, location.cluster):
        connection.command(statement)
    if before != SCHEMA_VERSION:
        connection.insert("meta", META, [version_row(time.time_ns())])
    return before


def check_version(connection: Connection) -> None:
    """Raises ArchiveError where the tables are missing, or of another version than this storage's."""
    found = read_version(connection)
    if found is None:
        raise ArchiveError(f"{connection.location}: {_MISSING}")
    if found > SCHEMA_VERSION:
        raise ArchiveError(f"{connection.location}: {_newer(found)}")
    if found < SCHEMA_VERSION:
        raise ArchiveError(
            f"{connection.location}: the tables have version {found}, this storage needs {SCHEMA_VERSION}; "
            "bring them forward with: infertap storage migrate"
        )


def read_version(connection: Connection) -> int | None:
    """The version of the tables; None where there are none. Raises ArchiveError."""
    database = connection.location.database
    there = connection.rows(
        "SELECT count() FROM system.tables WHERE database = {database:String} AND name = 'meta'",
        {"database": database},
    )
    if not there[0][0]:
        return None
    rows = connection.rows(f"SELECT value FROM {database}.meta FINAL WHERE name = 'version'")
    return int(rows[0][0]) if rows else None


def _newer(found: int) -> str:
    return f"the tables have version {found}, newer than this storage's {SCHEMA_VERSION}; use a newer storage"
