"""An archive as schema version 1 left it on disk: tables as they were, never to be changed with the code."""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from infertap import v1
from storage.archive import GapEntry, RecordEntry

RECORDS = """CREATE TABLE old.records (spool_id BLOB, sequence UBIGINT, call_id VARCHAR, start_ns BIGINT,
duration_us BIGINT, state INTEGER, http_status INTEGER, grpc_status INTEGER, method VARCHAR, path VARCHAR,
model VARCHAR, model_version VARCHAR, request_id VARCHAR, caller VARCHAR, previous_hash BLOB, hash BLOB,
salt BLOB, stored_ns BIGINT, record BLOB)"""
RECEIVED = """CREATE TABLE old.received (spool_id BLOB, first UBIGINT, last UBIGINT, is_gap BOOLEAN,
reason VARCHAR, last_hash BLOB, stored_ns BIGINT)"""
FEEDBACK = """CREATE TABLE old.given (number UBIGINT, feedback_key UBIGINT, subject_key UBIGINT,
feedback_id VARCHAR, call_id VARCHAR, request_id VARCHAR, received_ns BIGINT, rating DOUBLE, thumb INTEGER,
labels VARCHAR[], size_bytes UBIGINT, feedback BLOB)"""


def make_day(
    directory: Path, date: str, entries: Sequence[RecordEntry], gap: GapEntry, stored_ns: int
) -> None:
    """A day's file."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{directory}/records-{date}.duckdb' AS old")
        connection.execute(RECORDS)
        connection.execute(RECEIVED)
        for entry in entries:
            record = entry.parsed
            row = (
                entry.spool_id,
                entry.sequence,
                record.call_id,
                record.timing.start.ToNanoseconds(),
                record.timing.duration_us,
                record.state,
                record.http_status,
                None,
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
            connection.execute(f"INSERT INTO old.records VALUES ({', '.join('?' * len(row))})", row)
            covered = (entry.spool_id, entry.sequence, entry.sequence, False, None, None, stored_ns)
            connection.execute("INSERT INTO old.received VALUES (?, ?, ?, ?, ?, ?, ?)", covered)
        missing = (gap.spool_id, gap.first, gap.last, True, gap.reason, gap.last_hash, stored_ns)
        connection.execute("INSERT INTO old.received VALUES (?, ?, ?, ?, ?, ?, ?)", missing)
        connection.execute("DETACH old")


def make_feedback(directory: Path, given: v1.Feedback, keys: tuple[int, int]) -> None:
    """The file of feedback, with one piece about a request; `keys`: of its id, and of what it is about."""
    encoded = given.SerializeToString()
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{directory}/feedback.duckdb' AS old")
        connection.execute(FEEDBACK)
        row = (
            1,
            *keys,
            given.feedback_id,
            "",
            given.request_id,
            given.received_at.ToNanoseconds(),
            given.rating,
            0,
            [],
            len(encoded),
            encoded,
        )
        connection.execute(f"INSERT INTO old.given VALUES ({', '.join('?' * len(row))})", row)
        connection.execute("DETACH old")
