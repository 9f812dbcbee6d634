"""Inserting into the DuckDB engine: many rows in one statement, column by column.

The engine has no other way in from Python that needs neither Arrow nor NumPy. Rows one by one would take ten
times as long; one `unnest` for each of the columns side by side twice as long as these, joined by position;
and a column whose value is one and the same in all rows, as most are in a batch, is given once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb


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
    given: dict[str, Any] = {}
    chosen: list[str] = []
    joined: list[str] = []
    for number, (kind, column) in enumerate(zip(kinds.values(), columns, strict=True)):
        if joined and column.count(column[0]) == len(column):
            chosen.append(f"$v{number}::{kind}")
            given[f"v{number}"] = column[0]
        else:
            chosen.append(f"c{number}")
            joined.append(f"(SELECT unnest($v{number}::{kind}[]) AS c{number})")
            given[f"v{number}"] = column
    source = " POSITIONAL JOIN ".join(joined)
    connection.execute(f"INSERT INTO {table} SELECT {', '.join(chosen)} FROM {source}", given)  # noqa: S608
