"""Migration: making the tables of a ClickHouse archive, and checking that they are there."""

import time

from storage.archive.clickhouse_connection import Connection
from storage.archive.clickhouse_tables import (
    META,
    TABLES,
    TABLES_VERSION,
    create_statements,
    forward_statements,
    version_row,
)
from storage.archive.interface import ArchiveError

_BY = "infertap storage migrate"


def migrate(connection: Connection) -> int | None:
    """Make what is not there; returns the version there was before, None for none. Raises ArchiveError.

    The version is written last: what was left off half-made is made whole by running it again.
    """
    before = read_version(connection)
    if before is not None and before > TABLES_VERSION:
        raise ArchiveError(_newer(before))
    location = connection.location
    missing = _missing(connection)
    for statement in create_statements(location.database, location.cluster):
        connection.command(statement)
    is_older = before is not None and before < TABLES_VERSION
    if is_older or any("." in each for each in missing):
        for statement in forward_statements(location.database, location.cluster):
            connection.command(statement)
    if before != TABLES_VERSION:
        _write_version(connection)
    return before


def check_version(connection: Connection) -> None:
    """Raises ArchiveError where tables are missing, or of another version than this storage's."""
    found = read_version(connection)
    if found is None:
        raise ArchiveError(f"{connection.location}: the tables are not there; make them with: {_BY}")
    if found > TABLES_VERSION:
        raise ArchiveError(f"{connection.location}: {_newer(found)}")
    if found < TABLES_VERSION:
        raise ArchiveError(
            f"{connection.location}: the tables have version {found}, this storage needs {TABLES_VERSION}; "
            f"bring them forward with: {_BY}"
        )
    if missing := _missing(connection):
        raise ArchiveError(f"{connection.location}: {missing[0]} is not there; make it with: {_BY}")


def read_version(connection: Connection) -> int | None:
    """The version of the tables; None where there are none. Raises ArchiveError."""
    return _version_and_time(connection)[0]


def _version_and_time(connection: Connection) -> tuple[int | None, int]:
    """The version, and when it was written."""
    database = connection.location.database
    there = connection.rows(
        "SELECT count() FROM system.tables WHERE database = {database:String} AND name = 'meta'",
        {"database": database},
    )
    if not there[0][0]:
        return None, 0
    rows = connection.rows(
        f"SELECT toString(value), written_ns FROM {database}.meta FINAL WHERE name = 'version'"
    )
    if not rows:
        return None, 0
    version, written_ns = rows[0]
    if not version.isdecimal():
        raise ArchiveError(f"{connection.location}: its table meta has a version that is none")
    return int(version), written_ns


def _write_version(connection: Connection) -> None:
    """The row written latest stands, by clocks that may differ: so this is later than what is there."""
    _, written_ns = _version_and_time(connection)
    connection.insert("meta", META, [version_row(max(time.time_ns(), written_ns + 1))])


def _missing(connection: Connection) -> list[str]:
    """Tables that are not there, and columns ("table.column") of those that are."""
    rows = connection.rows(
        "SELECT table, name FROM system.columns WHERE database = {database:String}",
        {"database": connection.location.database},
    )
    there = {(table, column) for table, column in rows}
    tables = {table for table, _ in there}
    missing = [table.name for table in TABLES if table.name not in tables]
    return missing + [
        f"{table.name}.{column}"
        for table in TABLES
        for column in table.columns
        if table.name in tables and (table.name, column) not in there
    ]


def _newer(found: int) -> str:
    return f"the tables have version {found}, newer than this storage's {TABLES_VERSION}; use a newer storage"
