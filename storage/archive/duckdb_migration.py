"""Migration: a file of an earlier schema is brought to this one, at the start.

Version 1 lacks columns that stored records tell of, tables that are new and empty, and tenants: what it has
belongs to nobody (""). The new file is made beside the old one and gets its name once it is whole; a kill in
between leaves the old one to be begun with again. Version 2 may hold what 3 does, and gets but its number.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import duckdb

from infertap import v1
from storage.archive.columns import FILE_VERSION, record_rows
from storage.archive.duckdb_files import REWRITTEN, make_file
from storage.archive.duckdb_inserting import insert_rows
from storage.archive.duckdb_packing import packed
from storage.archive.duckdb_parts import Part
from storage.archive.duckdb_schema import CREATE, TABLES
from storage.archive.entries import RecordEntry

_SAME_TABLES: Final = 2
_STEP_ROWS: Final = 500
# Rows after which what was written is worked into the new file, so that memory stays bounded.
_CHECKPOINT_ROWS: Final = 20_000
_OLD_RECORDS: Final = (
    "SELECT spool_id, sequence, previous_hash, hash, salt, record, stored_ns FROM {file}.records "
    "ORDER BY rowid"
)
_OLD_RECEIVED: Final = (
    "INSERT INTO {new}.received SELECT spool_id, first, last, is_gap, reason, last_hash, stored_ns, '' "
    "FROM {file}.received"
)


def migrate_part(
    connection: "duckdb.DuckDBPyConnection", part: Part, version: int, moved: Callable[..., object]
) -> Part:
    """The same records in a file of this schema, which is `part` itself, or made and not attached; `part` is
    attached, of `version`, and stays. `moved` is told now and then how many `records` have been taken over.
    Raises duckdb.Error and OSError.
    """
    if version == _SAME_TABLES:
        connection.execute(f"UPDATE {part.name}.schema SET version = {FILE_VERSION}")  # noqa: S608
        return part
    if version != 1:
        raise AssertionError(f"no way from version {version}")
    made = part.next_generation()

    def fill(new: str) -> None:
        with connection.cursor() as reading:
            count = 0
            for rows in _old_records(reading, part.name):
                insert_rows(connection, f"{new}.records", TABLES["records"], rows)
                count += len(rows)
                if count % _CHECKPOINT_ROWS < len(rows):
                    connection.execute(f"CHECKPOINT {new}")
                    moved(records=count)
        connection.execute(_OLD_RECEIVED.format(new=new, file=part.name))

    make_file(connection, made.path, CREATE, fill, REWRITTEN)
    return made


def _old_records(cursor: "duckdb.DuckDBPyConnection", file: str) -> Iterator[Sequence[Sequence[Any]]]:
    """Rows of this version's `records`, some at a time."""
    found = cursor.execute(_OLD_RECORDS.format(file=file))
    while rows := found.fetchmany(_STEP_ROWS):
        yield [_row(row) for row in rows]


def _row(old: Sequence[Any]) -> Sequence[Any]:
    spool_id, sequence, previous_hash, hashed, salt, record, stored_ns = old
    entry = RecordEntry(
        spool_id=bytes(spool_id),
        sequence=sequence,
        previous_hash=bytes(previous_hash),
        hash=bytes(hashed),
        salt=bytes(salt),
        record=bytes(record),
        parsed=v1.Record.FromString(bytes(record)),
    )
    [(*values, _)] = record_rows([entry], stored_ns)
    return [*values, *packed([entry.record])]
