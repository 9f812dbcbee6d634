"""Rewriting in the DuckDB engine: a file of records without some of them. Reads one file, makes another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb

from storage.archive.duckdb_files import REWRITTEN, make_file
from storage.archive.duckdb_parts import Part
from storage.archive.duckdb_schema import CREATE

_COPIED: Final = ("received", "leaves", "tombstones")


@dataclass(frozen=True, slots=True)
class Doom:
    """Which records go, as a condition on their rows with its values, and why and when."""

    condition: str
    values: Sequence[Any]
    reason: str
    now_ns: int


def count_doomed(cursor: "duckdb.DuckDBPyConnection", part: Part, doom: Doom) -> int:
    """How many records of a file go. Raises duckdb.Error."""
    select = f"SELECT count(*) FROM {part.name}.records WHERE {doom.condition}"  # noqa: S608
    row: Any = cursor.execute(select, doom.values).fetchone()
    return int(row[0])


def victims(
    connection: "duckdb.DuckDBPyConnection", part: Part, doom: Doom, most: int
) -> "Iterator[list[tuple[str, bytes, int, bytes]]]":
    """Tenant, spool id, sequence and hash of the records that go, so many at a time. Raises duckdb.Error."""
    select = f"SELECT tenant, spool_id, sequence, hash FROM {part.name}.records WHERE {doom.condition}"  # noqa: S608
    with connection.cursor() as cursor:
        found = cursor.execute(select, doom.values)
        while rows := found.fetchmany(most):
            yield [
                (tenant, bytes(spool), sequence, bytes(hashed)) for tenant, spool, sequence, hashed in rows
            ]


def rewrite(connection: "duckdb.DuckDBPyConnection", part: Part, doom: Doom) -> Part:
    """The next generation of a file, made and not attached: without the records that go, with a tombstone for
    each of them. Raises duckdb.Error and OSError.
    """
    made = part.next_generation()
    old = f"{part.name}.records WHERE"
    with connection.cursor() as cursor:

        def fill(new: str) -> None:
            stay = f"INSERT INTO {new}.records SELECT * FROM {old} NOT ({doom.condition})"  # noqa: S608
            cursor.execute(stay, doom.values)
            for table in _COPIED:
                cursor.execute(f"INSERT INTO {new}.{table} SELECT * FROM {part.name}.{table}")  # noqa: S608
            cursor.execute(
                f"INSERT INTO {new}.tombstones SELECT tenant, spool_id, sequence, previous_hash, hash, ?, ? "  # noqa: S608
                f"FROM {old} {doom.condition}",
                [doom.reason, doom.now_ns, *doom.values],
            )

        make_file(cursor, made.path, CREATE, fill, REWRITTEN)
    return made
