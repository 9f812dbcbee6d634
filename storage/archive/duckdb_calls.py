"""Calls in the DuckDB engine: one row for each call that is asked for, from columns alone. Pure SQL.

A row that is no segment is a call; segments are joined first, as infertap.query.join_segments joins records.
"""

from collections.abc import Sequence
from typing import Final

import duckdb

from infertap.query import Query
from storage.archive.duckdb_conditions import Clause, call_conditions, conditions, row_conditions

# What a call is counted and found by; of segments, how they are joined where the latest does not say it all.
_EARLIEST: Final = ("model", "model_version")
_LATEST: Final = (
    "method",
    "path",
    "state",
    "http_status",
    "grpc_status",
    "duration_us",
    "first_byte_us",
    # The engine passes over what is null: the latest that says it.
    "input_tokens",
    "output_tokens",
    "sampling_fraction",
    "caller",
    "session",
    "cohort",
    "application_version",
    "error_type",
    "tags",
)
_JOINED: Final = ", ".join(
    [
        *(f"coalesce(arg_min({name}, sequence) FILTER ({name} <> ''), '') AS {name}" for name in _EARLIEST),
        *(f"arg_max({name}, sequence) AS {name}" for name in _LATEST),
        "coalesce(arg_max(finish_reasons, sequence) FILTER (len(finish_reasons) > 0), []) AS finish_reasons",
        "list_distinct(flatten(list(redaction_classes))) AS redaction_classes",
    ]
)
_FOUND: Final = ", ".join(["start_ns", *_EARLIEST, *_LATEST])


def calls_of(parts: Sequence[str], query: Query) -> Clause:
    """A statement of all calls that match, one row for each, with what they are counted by."""
    whole, of_calls, of_rows = conditions(query), call_conditions(query), row_conditions(query)
    rows = " UNION ALL ".join(
        f"SELECT {_FOUND} FROM {part}.records WHERE NOT is_segment AND {whole.sql}"  # noqa: S608
        for part in parts
    )
    segments = " UNION ALL ".join(
        f"SELECT * EXCLUDE (record) FROM {part}.records WHERE is_segment AND {of_calls.sql}"  # noqa: S608
        for part in parts
    )
    joined = f"SELECT start_ns, {_JOINED} FROM ({segments}) GROUP BY call_id, start_ns, spool_id"  # noqa: S608
    return Clause(
        [f"{rows} UNION ALL SELECT {_FOUND} FROM ({joined}) WHERE {of_rows.sql}"],  # noqa: S608
        [*whole.values * len(parts), *of_calls.values * len(parts), *of_rows.values],
    )


def count_calls(cursor: "duckdb.DuckDBPyConnection", parts: Sequence[str], query: Query) -> int:
    """See Archive.count; `parts` are the attached files. Raises duckdb.Error."""
    if not parts:
        return 0
    calls = calls_of(parts, query)
    row = cursor.execute(f"SELECT count(*) FROM ({calls.sql})", calls.values).fetchone()  # noqa: S608
    return int(row[0]) if row else 0
