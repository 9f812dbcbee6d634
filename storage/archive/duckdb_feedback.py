"""Feedback in the DuckDB engine: a file of its own, which no day's file takes with it when it goes.

    ARCHIVE/feedback.duckdb
        given   number        counts up from 1, in the order of receiving
                feedback_key  the first 8 bytes of SHA-256 of the feedback's id: what it is found by
                subject_key   the same of what it is about: "call:" or "request:", and its id
                feedback_id, call_id, request_id, received_ns, rating, thumb, labels
                size_bytes    of what follows
                feedback      an encoded infertap.v1.Feedback: all of it

It is written through a connection of its own, so that no batch of records waits for it.
"""

import threading
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import duckdb

from infertap import v1
from infertap.query import FeedbackQuery
from storage.archive.duckdb_files import make_file, quoted
from storage.archive.entries import FeedbackPage

_COLUMNS: Final = {
    "number": "UBIGINT",
    "feedback_key": "UBIGINT",
    "subject_key": "UBIGINT",
    "feedback_id": "VARCHAR",
    "call_id": "VARCHAR",
    "request_id": "VARCHAR",
    "received_ns": "BIGINT",
    "rating": "DOUBLE",
    "thumb": "INTEGER",
    "labels": "VARCHAR[]",
    "size_bytes": "UBIGINT",
    "feedback": "BLOB",
}
_CREATE: Final = (
    f"CREATE TABLE {{file}}.given ({', '.join(f'{name} {kind}' for name, kind in _COLUMNS.items())})",
)
_INSERT: Final = "INSERT INTO feedback.given SELECT " + ", ".join(
    f"unnest(?::{kind}[])" for kind in _COLUMNS.values()
)
_KNOWN: Final = "SELECT feedback_id FROM feedback.given WHERE feedback_key IN (SELECT unnest(?::UBIGINT[]))"
_OF_SUBJECTS: Final = "FROM feedback.given WHERE subject_key IN (SELECT unnest(?::UBIGINT[]))"
_COUNTS: Final = f"SELECT subject_key, count(*) {_OF_SUBJECTS} GROUP BY subject_key"
_LATEST: Final = (
    f"SELECT number, subject_key, size_bytes {_OF_SUBJECTS} "
    "QUALIFY row_number() OVER (PARTITION BY subject_key ORDER BY number DESC) <= ? ORDER BY number DESC"
)
_NUMBERED: Final = "SELECT number, feedback FROM feedback.given WHERE number IN (SELECT unnest(?::UBIGINT[]))"
# Of one call or request, joined to a record at most.
_MOST_JOINED: Final = 100
_MOST_LISTED: Final = 1000
# Bytes in one answer: clients of gRPC take 4 MiB unless told otherwise.
_PAGE_BYTES: Final = 3 << 20


class FeedbackTable:
    """All feedback of an archive. Safe from any thread."""

    def __init__(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """Use `open`."""
        self._connection = connection
        self._writing = threading.Lock()
        last: Any = connection.execute("SELECT max(number) FROM feedback.given").fetchone()
        self._last: int = last[0] or 0

    @classmethod
    def open(cls, connection: "duckdb.DuckDBPyConnection", directory: Path) -> "FeedbackTable":
        """Attach the file in `directory`, made where it is not there. Raises duckdb.Error, OSError."""
        path = directory / "feedback.duckdb"
        if not path.exists():
            make_file(connection, path, _CREATE)
        connection.execute(f"ATTACH IF NOT EXISTS '{quoted(path)}' AS feedback")
        return cls(connection.cursor())

    def close(self) -> None:
        """Let the file go."""
        with self._writing:
            self._connection.close()

    def attach(self, given: Sequence[v1.Feedback]) -> list[bool]:
        """Keep those whose ids are not here yet; whether each was new. Raises duckdb.Error."""
        with self._writing:
            taken = self._known(each.feedback_id for each in given)
            is_new = []
            for each in given:
                is_new.append(each.feedback_id not in taken)
                taken.add(each.feedback_id)
            fresh = [each for each, new in zip(given, is_new, strict=True) if new]
            if fresh:
                rows = [_row(number, each) for number, each in enumerate(fresh, self._last + 1)]
                # One statement is one transaction.
                self._connection.execute(_INSERT, [list(column) for column in zip(*rows, strict=True)])
                self._last += len(fresh)
            return is_new

    def _known(self, ids: Iterable[str]) -> set[str]:
        keys = [_key(each) for each in ids]
        return {found for (found,) in self._connection.execute(_KNOWN, [keys]).fetchall()}

    def join(
        self, cursor: "duckdb.DuckDBPyConnection", records: Sequence[v1.Record], most_bytes: int
    ) -> None:
        """See Archive.join_feedback."""
        for record in records:
            record.ClearField("feedback")
            record.ClearField("feedback_count")
        subjects = [_subjects(record) for record in records]
        keys = sorted({key for of_record in subjects for key in of_record})
        counts: dict[int, int] = {}
        if self._last and keys:
            counts = dict(cursor.execute(_COUNTS, [keys]).fetchall())
        if not counts:
            return
        there: dict[int, list[tuple[int, int]]] = {}
        for number, key, size in cursor.execute(_LATEST, [keys, _MOST_JOINED]).fetchall():
            there.setdefault(key, []).append((number, size))
        chosen = [
            sorted((each for key in keys for each in there.get(key, ())), reverse=True) for keys in subjects
        ]
        numbers = _within(chosen, most_bytes)
        pieces = self._pieces(cursor, {number for of_record in numbers for number in of_record})
        for record, of_record, wanted in zip(records, subjects, numbers, strict=True):
            record.feedback_count = sum(counts.get(key, 0) for key in of_record)
            record.feedback.extend(pieces[number] for number in wanted)

    def page(
        self, cursor: "duckdb.DuckDBPyConnection", subjects: Sequence[str], below: int | None, size: int
    ) -> FeedbackPage:
        """See Archive.feedback; `subjects` as `subject_of_call` and `subject_of_request` give them."""
        clauses: list[str] = ["true"]
        values: list[Any] = []
        if subjects:
            clauses.append("subject_key IN (SELECT unnest(?::UBIGINT[]))")
            values.append([_key(each) for each in subjects])
        if below is not None:
            clauses.append("number < ?")
            values.append(below)
        rows = cursor.execute(
            f"SELECT number, size_bytes FROM feedback.given WHERE {' AND '.join(clauses)} "  # noqa: S608
            f"ORDER BY number DESC LIMIT {size + 1:d}",
            values,
        ).fetchall()
        numbers = _within([rows[:size]], _PAGE_BYTES)[0] or [number for number, _ in rows[:1]]
        pieces = self._pieces(cursor, set(numbers))
        follows = len(numbers) < len(rows)
        return FeedbackPage([pieces[number] for number in numbers], numbers[-1] if follows else None)

    def _pieces(self, cursor: "duckdb.DuckDBPyConnection", numbers: set[int]) -> dict[int, v1.Feedback]:
        rows = cursor.execute(_NUMBERED, [sorted(numbers)]).fetchall() if numbers else []
        return {number: v1.Feedback.FromString(bytes(encoded)) for number, encoded in rows}


def subject_of_call(call_id: str) -> str:
    """What feedback to that call is about."""
    return f"call:{call_id}"


def subject_of_request(request_id: str) -> str:
    """What feedback to that request is about."""
    return f"request:{request_id}"


def feedback_condition(query: FeedbackQuery) -> tuple[str, list[Any]]:
    """A condition on rows of records, and its values."""
    clauses: list[str] = []
    values: list[Any] = []
    for clause, value in (
        ("rating >= ?", query.min_rating),
        ("rating <= ?", query.max_rating),
        ("list_contains(labels, ?)", query.label or None),
        ("thumb = ?", query.thumb or None),
    ):
        if value is not None:
            clauses.append(f"AND {clause}")
            values.append(value)
    such = " ".join(clauses)
    of_call, of_request = (
        f"{each} IN (SELECT {each} FROM feedback.given WHERE {each} <> '' {such})"  # noqa: S608
        for each in ("call_id", "request_id")
    )
    return f"{'NOT ' * query.is_absent}({of_call} OR {of_request})", [*values, *values]


def _row(number: int, given: v1.Feedback) -> tuple[Any, ...]:
    encoded = given.SerializeToString()
    return (
        number,
        _key(given.feedback_id),
        _subject_key(given),
        given.feedback_id,
        given.call_id,
        given.request_id,
        given.received_at.ToNanoseconds(),
        given.rating if given.HasField("rating") else None,
        given.thumb,
        list(given.labels),
        len(encoded),
        encoded,
    )


def _key(text: str) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big")


def _subject_key(given: v1.Feedback) -> int:
    is_call = bool(given.call_id)
    return _key(subject_of_call(given.call_id) if is_call else subject_of_request(given.request_id))


def _subjects(record: v1.Record) -> list[int]:
    keys = [_key(subject_of_call(record.call_id))]
    return [*keys, _key(subject_of_request(record.request_id))] if record.request_id else keys


def _within(found: Sequence[Sequence[tuple[int, int]]], most_bytes: int) -> list[list[int]]:
    """Of each list of numbers and sizes the numbers, as many as fit into `most_bytes` in all."""
    left = most_bytes
    chosen: list[list[int]] = []
    for each in found:
        chosen.append([])
        for number, size in each[:_MOST_LISTED]:
            left -= size
            if left < 0:
                return chosen + [[] for _ in found[len(chosen) :]]
            chosen[-1].append(number)
    return chosen
