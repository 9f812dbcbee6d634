"""Schema of the DuckDB engine's files of records: their tables, and which version a file is of. Pure SQL.

    schema      version     one row; version 1 had no such table
    records     one row each: the columns of storage.archive.columns, in their order; `record` as
                duckdb_packing holds it
    received    spool_id, first, last, is_gap, reason, last_hash, stored_ns, tenant
                what these records and the gaps cover, in the transaction in which they came
    leaves      tenant, log, leaf_index, kind, spool_id, first, last, hash, reason      see storage.audit
    tombstones  tenant, spool_id, sequence, previous_hash, hash, reason, deleted_ns     what was deleted here

Version 3 differs from 2 in nothing but what `record` may hold: a file of version 2 becomes one by its number.
A record whose row is gone stays in `received`, so no spool sends it again.
"""

from typing import Any, Final

import duckdb

from storage.archive.columns import FILE_VERSION, RECORD_COLUMNS, Kind
from storage.archive.interface import ArchiveError

_KINDS: Final = {
    Kind.TEXT: "VARCHAR",
    Kind.TEXTS: "VARCHAR[]",
    Kind.SMALL: "INTEGER",
    Kind.INTEGER: "BIGINT",
    Kind.SEQUENCE: "UBIGINT",
    Kind.REAL: "DOUBLE",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.BYTES: "BLOB",
}
TABLES: Final[dict[str, dict[str, str]]] = {
    "records": {column.name: _KINDS[column.kind] for column in RECORD_COLUMNS},
    "received": {
        "spool_id": "BLOB",
        "first": "UBIGINT",
        "last": "UBIGINT",
        "is_gap": "BOOLEAN",
        "reason": "VARCHAR",
        "last_hash": "BLOB",
        "stored_ns": "BIGINT",
        "tenant": "VARCHAR",
    },
    "leaves": {
        "tenant": "VARCHAR",
        "log": "VARCHAR",
        "leaf_index": "UBIGINT",
        "kind": "UTINYINT",
        "spool_id": "BLOB",
        "first": "UBIGINT",
        "last": "UBIGINT",
        "hash": "BLOB",
        "reason": "VARCHAR",
    },
    "tombstones": {
        "tenant": "VARCHAR",
        "spool_id": "BLOB",
        "sequence": "UBIGINT",
        "previous_hash": "BLOB",
        "hash": "BLOB",
        "reason": "VARCHAR",
        "deleted_ns": "BIGINT",
    },
}


# Hashes get no smaller by anything, and records have been packed. Left to choose, the engine takes three
# times as long for a checkpoint.
_COMPRESSION: Final = dict.fromkeys(("record", "previous_hash", "hash", "salt", "last_hash"), "uncompressed")


def create_table(name: str, columns: dict[str, str]) -> str:
    """Makes a table in {file}."""
    told = (
        f"{each} {kind} USING COMPRESSION {_COMPRESSION[each]}" if each in _COMPRESSION else f"{each} {kind}"
        for each, kind in columns.items()
    )
    return f"CREATE TABLE {{file}}.{name} ({', '.join(told)})"


# With {file} for the attached file. Every file that the engine makes has the first of them.
CREATE_VERSION: Final = (
    "CREATE TABLE {file}.schema (version INTEGER)",
    f"INSERT INTO {{file}}.schema VALUES ({FILE_VERSION})",  # noqa: S608
)
CREATE: Final = (*CREATE_VERSION, *(create_table(name, columns) for name, columns in TABLES.items()))


def version_of(connection: "duckdb.DuckDBPyConnection", file: str) -> int:
    """The version of an attached file; raises ArchiveError where it is newer than this code."""
    has_table = connection.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE database_name = ? AND table_name = 'schema'", [file]
    ).fetchone()
    if not has_table or not has_table[0]:
        return 1
    row: Any = connection.execute(f"SELECT max(version) FROM {file}.schema").fetchone()  # noqa: S608
    version = int(row[0] or 0)
    if version > FILE_VERSION:
        raise NewerSchemaError(version)
    return version


class NewerSchemaError(ArchiveError):
    """A file was written by a newer infertap."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"written by a newer infertap (schema {version}, this one knows up to {FILE_VERSION}); "
            "start that one, or restore a backup made before"
        )
