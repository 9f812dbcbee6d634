"""Transactions of the DuckDB engine: written as a whole or not at all, read as things are at one moment.

Touches the connection that is handed in.
"""

import contextlib
from collections.abc import Iterator

import duckdb


@contextlib.contextmanager
def transaction(connection: "duckdb.DuckDBPyConnection") -> Iterator[None]:
    """All of it or nothing; durable at the end. Raises duckdb.Error."""
    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise


@contextlib.contextmanager
def read_transaction(cursor: "duckdb.DuckDBPyConnection") -> Iterator[None]:
    """All statements see what there is at the first one; row ids are of that. Raises duckdb.Error."""
    cursor.execute("BEGIN TRANSACTION READ ONLY")
    try:
        yield
    finally:
        _roll_back(cursor)


def _roll_back(connection: "duckdb.DuckDBPyConnection") -> None:
    """There may be nothing to roll back: what went wrong before is what matters."""
    with contextlib.suppress(duckdb.Error):
        connection.execute("ROLLBACK")
