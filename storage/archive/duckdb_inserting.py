"""Inserting into the DuckDB engine: many rows in one statement, column by column, as Arrow buffers.

The engine reads such buffers as they lie (Arrow's C stream interface), where each value that is given as a
parameter costs it a microsecond or so: 1,000 records took ten times as long.
"""

from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain
from typing import Any, Final

import duckdb
import nanoarrow as arrow

# Under which name the engine sees the rows while they are inserted.
_INCOMING: Final = "incoming_rows"
# The engine's types in Arrow's words.
_TYPES: Final = {
    "BIGINT": arrow.int64(),
    "BLOB": arrow.binary(),
    "BOOLEAN": arrow.bool_(),
    "DOUBLE": arrow.float64(),
    "INTEGER": arrow.int32(),
    "UBIGINT": arrow.uint64(),
    "UTINYINT": arrow.uint8(),
    "VARCHAR": arrow.string(),
}
_LIST: Final = "[]"


class _Rows:
    """Rows that the engine may ask for several times: for their types, and for themselves."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return arrow.c_array_stream(self._rows).__arrow_c_stream__(requested_schema)


def insert_rows(
    connection: "duckdb.DuckDBPyConnection",
    table: str,
    kinds: Mapping[str, str],
    rows: Sequence[Sequence[Any]],
) -> None:
    """Insert rows whose values are in the order of `kinds`: names of columns, and their SQL types. Raises
    duckdb.Error.
    """
    if rows:
        insert_columns(connection, table, kinds, [list(column) for column in zip(*rows, strict=True)])


def insert_columns(
    connection: "duckdb.DuckDBPyConnection",
    table: str,
    kinds: Mapping[str, str],
    columns: Sequence[list[Any]],
) -> None:
    """The same, given as a list for each column; none of them is empty."""
    arrays = [_array(kind, column) for kind, column in zip(kinds.values(), columns, strict=True)]
    schema = arrow.struct({name: _type(kind) for name, kind in kinds.items()})
    rows = arrow.c_array_from_buffers(schema, len(columns[0]), [None], children=arrays, null_count=0)
    connection.register(_INCOMING, _Rows(rows))
    try:
        connection.execute(f"INSERT INTO {table} SELECT * FROM {_INCOMING}")  # noqa: S608
    finally:
        connection.unregister(_INCOMING)


def _type(kind: str) -> Any:
    if kind.endswith(_LIST):
        return arrow.list_(_TYPES[kind.removesuffix(_LIST)])
    return _TYPES[kind]


def _array(kind: str, column: Sequence[Any]) -> Any:
    if kind.endswith(_LIST):
        return _lists(kind.removesuffix(_LIST), column)
    return arrow.c_array(column, _TYPES[kind])


def _lists(kind: str, column: Sequence[Sequence[Any]]) -> Any:
    """Each list is what lies between its offset and the next."""
    offsets = array("i", accumulate(map(len, column), initial=0))
    items = arrow.c_array(list(chain.from_iterable(column)), _TYPES[kind])
    return arrow.c_array_from_buffers(
        arrow.list_(_TYPES[kind]), len(column), [None, offsets], children=[items], null_count=0
    )
