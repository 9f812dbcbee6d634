"""Queries: the SQL of the DuckDB engine. Values are always parameters; names are ours."""

from typing import Any, Final

from infertap.query import Query
from storage.archive.duckdb_feedback import feedback_condition
from storage.archive.entries import Position, RecordEntry, Stored

# What makes a Stored, in its order.
COLUMNS: Final = "start_ns, spool_id, sequence, stored_ns, record"

# Segments of one call have one start, by which the engine skips most of a day.
_OF_CALL: Final = "FROM {day}.records WHERE call_id = ? AND start_ns = ? AND spool_id = ?"
SEGMENTS: Final = f"SELECT {COLUMNS} {_OF_CALL} ORDER BY sequence"
LATER_SEGMENT: Final = f"SELECT 1 {_OF_CALL} AND sequence > ? LIMIT 1"

# Segments of a call are of one request id.
CALLS_OF: Final = (
    "SELECT request_id, call_id FROM {day}.records WHERE request_id IN (SELECT unnest(?::VARCHAR[])) "
    "GROUP BY request_id, call_id "
    "QUALIFY row_number() OVER (PARTITION BY request_id ORDER BY max(start_ns) DESC) <= ? "
    "ORDER BY max(start_ns) DESC"
)

_TABLES: Final = {
    "records": {
        "spool_id": "BLOB",
        "sequence": "UBIGINT",
        "call_id": "VARCHAR",
        "start_ns": "BIGINT",
        "duration_us": "BIGINT",
        "state": "INTEGER",
        "http_status": "INTEGER",
        "grpc_status": "INTEGER",
        "method": "VARCHAR",
        "path": "VARCHAR",
        "model": "VARCHAR",
        "model_version": "VARCHAR",
        "request_id": "VARCHAR",
        "caller": "VARCHAR",
        "previous_hash": "BLOB",
        "hash": "BLOB",
        "salt": "BLOB",
        "stored_ns": "BIGINT",
        "record": "BLOB",
    },
    "received": {
        "spool_id": "BLOB",
        "first": "UBIGINT",
        "last": "UBIGINT",
        "is_gap": "BOOLEAN",
        "reason": "VARCHAR",
        "last_hash": "BLOB",
        "stored_ns": "BIGINT",
    },
}


def _create_statement(table: str) -> str:
    columns = ", ".join(f"{name} {kind}" for name, kind in _TABLES[table].items())
    return f"CREATE TABLE IF NOT EXISTS {{file}}.{table} ({columns})"


# With {file} for the attached file.
CREATE: Final = tuple(map(_create_statement, _TABLES))


def insert_statement(day: str, table: str) -> str:
    """Inserts rows that are given as one list for each column: ten times faster than row by row."""
    values = ", ".join(f"unnest(?::{kind}[])" for kind in _TABLES[table].values())
    return f"INSERT INTO {day}.{table} SELECT {values}"


def record_row(entry: RecordEntry, stored_ns: int) -> tuple[Any, ...]:
    """A row of `records`."""
    record = entry.parsed
    return (
        entry.spool_id,
        entry.sequence,
        record.call_id,
        record.timing.start.ToNanoseconds(),
        record.timing.duration_us,
        record.state,
        record.http_status,
        record.grpc_status if record.HasField("grpc_status") else None,
        record.method,
        record.path,
        record.model.name,
        record.model.version,
        record.request_id,
        record.caller.user,
        entry.previous_hash,
        entry.hash,
        entry.salt,
        stored_ns,
        entry.record,
    )


def conditions(query: Query, after: Position | None) -> tuple[str, list[Any]]:
    """A WHERE clause, and its values, that lets through at least what the query matches; all but the text."""
    clauses = ["true"]
    values: list[Any] = []

    def must(clause: str, *given: Any) -> None:
        clauses.append(clause)
        values.extend(given)

    if after is not None:
        must("(start_ns, spool_id, sequence) < (?, ?, ?)", after.start_ns, after.spool_id, after.sequence)
        must("start_ns <= ?", after.start_ns)  # what the engine can skip row groups by
    if query.start_ns is not None:
        must("start_ns >= ?", query.start_ns)
    if query.end_ns is not None:
        must("start_ns < ?", query.end_ns)
    if query.min_duration_us:
        must("duration_us >= ?", query.min_duration_us)
    for column, wanted in (
        ("model", query.model),
        ("model_version", query.model_version),
        ("method", query.method),
        ("request_id", query.request_id),
        ("caller", query.user),
    ):
        if wanted:
            must(f"{column} = ?", wanted)
    for column, chosen in (
        ("state", query.states),
        ("http_status", query.http_statuses),
        ("grpc_status", query.grpc_statuses),
    ):
        if chosen:
            must(f"{column} IN ({', '.join('?' * len(chosen))})", *sorted(chosen))
    if query.path:
        must("starts_with(path, ?)" if query.path_is_prefix else "path = ?", query.path)
    if query.feedback is not None:
        clause, given = feedback_condition(query.feedback)
        must(clause, *given)
    return " AND ".join(clauses), values


def stored_of(row: tuple[Any, ...]) -> Stored:
    """What a row of COLUMNS says."""
    start_ns, spool_id, sequence, stored_ns, record = row
    return Stored(Position(start_ns, start_ns, bytes(spool_id), sequence), bytes(record), stored_ns)
