"""Queries: the SQL of the DuckDB engine. Values are always parameters; names are ours."""

from collections.abc import Sequence
from typing import Any, Final

from storage.archive.duckdb_packing import unpacked
from storage.archive.entries import Position, Stored

# What makes a Stored, in its order.
COLUMNS: Final = "start_ns, spool_id, sequence, stored_ns, record, tenant"

# Segments of a call are of one request id.
CALLS_OF: Final = (
    "SELECT request_id, call_id FROM {day}.records WHERE request_id IN (SELECT unnest(?::VARCHAR[])) "
    "AND tenant = coalesce(?, tenant) "
    "GROUP BY request_id, call_id "
    "QUALIFY row_number() OVER (PARTITION BY request_id ORDER BY max(start_ns) DESC) <= ? "
    "ORDER BY max(start_ns) DESC"
)


def of_call_id(parts: Sequence[str]) -> str:
    """Finds the latest stored record with a call id, of a tenant or of any (null). One
    statement for all parts is several times faster than one for each.
    """
    of_parts = (
        f"SELECT {COLUMNS} FROM {part}.records "  # noqa: S608
        "WHERE call_id = $call_id AND tenant = coalesce($tenant, tenant)"
        for part in parts
    )
    return f"{' UNION ALL '.join(of_parts)} ORDER BY stored_ns DESC LIMIT 1"


def stored_of(row: tuple[Any, ...]) -> Stored:
    """What a row of COLUMNS says."""
    start_ns, spool_id, sequence, stored_ns, record, tenant = row
    return Stored(
        Position(start_ns, start_ns, bytes(spool_id), sequence), unpacked(bytes(record)), stored_ns, tenant
    )
