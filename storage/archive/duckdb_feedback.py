"""Feedback in the DuckDB engine: a file of its own, which no day's file takes with it when it goes.

    ARCHIVE/feedback.duckdb, feedback.N.duckdb    N counts how often it was rewritten; an earlier one is void
        schema  version       see duckdb_schema; version 1 had no such table, and no tenants
        given   number        counts up from 1, in the order of receiving
                feedback_key  the first 8 bytes of SHA-256 of the feedback's id: what it is found by
                subject_key   the same of what it is about: "call:" or "request:" and its id, and behind a NUL
                              its tenant where it has one
                feedback_id, call_id, request_id, received_ns, rating, thumb, labels
                size_bytes    of what follows
                feedback      an encoded infertap.v1.Feedback: all of it
                tenant        whose it is; ids are unique among the feedback of one tenant

It is written through a connection of its own, so that no batch of records waits for it.
"""

import re
import threading
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import duckdb

from infertap import v1
from infertap.query import FeedbackQuery
from storage.archive.duckdb_files import REWRITTEN, make_file, quoted, remove
from storage.archive.duckdb_inserting import insert_rows
from storage.archive.duckdb_schema import CREATE_VERSION, create_table, version_of
from storage.archive.entries import FeedbackPage

_FILE: Final = re.compile(r"feedback(?:\.(\d{1,9}))?\.duckdb")
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
    "tenant": "VARCHAR",
}
_CREATE: Final = (*CREATE_VERSION, create_table("given", _COLUMNS))
_KNOWN: Final = (
    "SELECT tenant, feedback_id FROM feedback.given WHERE feedback_key IN (SELECT unnest(?::UBIGINT[]))"
)
_OF_SUBJECTS: Final = "FROM feedback.given WHERE subject_key IN (SELECT unnest(?::UBIGINT[]))"
_COUNTS: Final = f"SELECT subject_key, count(*) {_OF_SUBJECTS} GROUP BY subject_key"
_LATEST: Final = (
    f"SELECT number, subject_key, size_bytes {_OF_SUBJECTS} "
    "QUALIFY row_number() OVER (PARTITION BY subject_key ORDER BY number DESC) <= ? ORDER BY number DESC"
)
_NUMBERED: Final = "SELECT number, feedback FROM feedback.given WHERE number IN (SELECT unnest(?::UBIGINT[]))"
# What was given to the calls in {doomed}, with {others} for the requests of those that stay.
_DOOMED: Final = (
    "((tenant, call_id) IN (SELECT (tenant, call_id) FROM {doomed}) OR (request_id <> '' AND "
    "(tenant, request_id) IN (SELECT (tenant, request_id) FROM {doomed}) AND "
    "(tenant, request_id) NOT IN (SELECT (tenant, request_id) FROM ({others}) o(tenant, request_id) "
    "WHERE request_id IS NOT NULL)))"
)
# One join for all files, for each takes memory.
_OTHERS: Final = (
    "SELECT tenant, request_id FROM ({records}) WHERE request_id IN (SELECT request_id FROM {doomed}) "
    "AND (call_id, spool_id) NOT IN (SELECT (call_id, spool_id) FROM {doomed})"
)
_RECORDS: Final = "SELECT tenant, request_id, call_id, spool_id FROM {part}.records"
# Of one call or request, joined to a record at most.
_MOST_JOINED: Final = 100
_MOST_LISTED: Final = 1000
# Bytes in one answer: clients of gRPC take 4 MiB unless told otherwise.
_PAGE_BYTES: Final = 3 << 20


class FeedbackTable:
    """All feedback of an archive. Safe from any thread."""

    def __init__(self, connection: "duckdb.DuckDBPyConnection", directory: Path, generation: int) -> None:
        """Use `open`."""
        self._connection = connection
        self._directory = directory
        self._generation = generation
        self._writing = threading.Lock()
        self._show()
        last: Any = connection.execute("SELECT max(number) FROM feedback.given").fetchone()
        self._last: int = last[0] or 0

    @classmethod
    def open(cls, connection: "duckdb.DuckDBPyConnection", directory: Path) -> "FeedbackTable":
        """Attach the file in `directory`, made where it is not there. Raises duckdb.Error, OSError and
        NewerSchemaError.
        """
        generation = _generation_in(directory)
        path = feedback_path(directory)
        if not path.exists():
            make_file(connection, path, _CREATE)
        connection.execute(f"ATTACH IF NOT EXISTS '{quoted(path)}' AS {_name(generation)}")
        if version_of(connection, _name(generation)) == 1:
            old = ", ".join(list(_COLUMNS)[:-1])
            select = f"SELECT {old}, '' FROM {_name(generation)}.given ORDER BY number"  # noqa: S608
            generation = _rewrite(connection, directory, generation, select)
        return cls(connection.cursor(), directory, generation)

    @property
    def name(self) -> str:
        """What the file is attached as."""
        return _name(self._generation)

    @property
    def path(self) -> Path:
        """Where the file is."""
        return _path(self._directory, self._generation)

    def _show(self) -> None:
        """Queries find it by one name, whatever the file is attached as."""
        self._connection.execute("CREATE SCHEMA IF NOT EXISTS memory.feedback")
        self._connection.execute(
            f"CREATE OR REPLACE VIEW memory.feedback.given AS SELECT * FROM {self.name}.main.given"  # noqa: S608
        )

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
                is_new.append((each.tenant, each.feedback_id) not in taken)
                taken.add((each.tenant, each.feedback_id))
            fresh = [each for each, new in zip(given, is_new, strict=True) if new]
            if fresh:
                rows = [_row(number, each) for number, each in enumerate(fresh, self._last + 1)]
                # One statement is one transaction.
                insert_rows(self._connection, f"{self.name}.given", _COLUMNS, rows)
                self._last += len(fresh)
            return is_new

    def _known(self, ids: Iterable[str]) -> set[tuple[str, str]]:
        keys = [_key(each) for each in ids]
        return set(self._connection.execute(_KNOWN, [keys]).fetchall())

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
        self,
        cursor: "duckdb.DuckDBPyConnection",
        call_id: str,
        request_id: str,
        below: int | None,
        size: int,
        *,
        tenant: str | None,
    ) -> FeedbackPage:
        """See Archive.feedback."""
        clauses: list[str] = ["true"]
        values: list[Any] = []
        if call_id or request_id:
            clauses.append("((call_id = ? AND call_id <> '') OR (request_id = ? AND request_id <> ''))")
            values += [call_id, request_id]
        if tenant is not None:
            clauses.append("tenant = ?")
            values.append(tenant)
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

    def count_doomed(self, cursor: "duckdb.DuckDBPyConnection", parts: Sequence[str], doomed: str) -> int:
        """How many `delete_doomed` would delete. Raises duckdb.Error."""
        return _count(cursor, _of_doomed(parts, doomed)) if self._last else 0

    def delete_doomed(self, parts: Sequence[str], doomed: str) -> int:
        """Delete what was given to the calls in the table `doomed`, by their call ids, or by request ids that
        no other record in `parts` has; gone from disk on return. How many they were. Raises duckdb.Error and
        OSError.
        """
        return self._delete(_of_doomed(parts, doomed)) if self._last else 0

    def delete_before(self, received_ns: int) -> int:
        """Delete what was received before that time; gone from disk on return. How many they were. Raises
        duckdb.Error and OSError.
        """
        return self._delete(f"received_ns < {received_ns:d}")

    def _delete(self, condition: str) -> int:
        with self._writing:
            connection = self._connection
            count = _count(connection, condition)
            if count:
                before = self._generation
                select = f"SELECT * FROM feedback.given WHERE NOT ({condition}) ORDER BY number"  # noqa: S608
                self._generation = _rewrite(connection, self._directory, before, select, self._show_next)
            return count

    def _show_next(self, generation: int) -> None:
        self._generation = generation
        self._show()

    def _pieces(self, cursor: "duckdb.DuckDBPyConnection", numbers: set[int]) -> dict[int, v1.Feedback]:
        rows = cursor.execute(_NUMBERED, [sorted(numbers)]).fetchall() if numbers else []
        return {number: v1.Feedback.FromString(bytes(encoded)) for number, encoded in rows}


def feedback_path(directory: Path) -> Path:
    """The file of an archive's feedback, whether it is there or not."""
    return _path(directory, _generation_in(directory))


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
        f"({each}, tenant) IN (SELECT ({each}, tenant) FROM feedback.given WHERE {each} <> '' {such})"  # noqa: S608
        for each in ("call_id", "request_id")
    )
    return f"{'NOT ' * query.is_absent}({of_call} OR {of_request})", [*values, *values]


def _of_doomed(parts: Sequence[str], doomed: str) -> str:
    records = " UNION ALL ".join(_RECORDS.format(part=part) for part in parts)
    others = _OTHERS.format(records=records, doomed=doomed) if parts else "SELECT NULL, NULL"
    return _DOOMED.format(doomed=doomed, others=others)


def _count(cursor: "duckdb.DuckDBPyConnection", condition: str) -> int:
    row: Any = cursor.execute(f"SELECT count(*) FROM feedback.given WHERE {condition}").fetchone()  # noqa: S608
    return int(row[0])


def _generation_in(directory: Path) -> int:
    found = [match for match in (_FILE.fullmatch(path.name) for path in directory.iterdir()) if match]
    return max((int(match[1] or 0) for match in found), default=0)


def _path(directory: Path, generation: int) -> Path:
    return directory / (f"feedback.{generation}.duckdb" if generation else "feedback.duckdb")


def _name(generation: int) -> str:
    return f"feedback_{generation}"


def _rewrite(
    connection: "duckdb.DuckDBPyConnection",
    directory: Path,
    generation: int,
    select: str,
    show: Callable[[int], None] | None = None,
) -> int:
    """Put what `select` gives in the place of the file; `show` is called before the old one goes. The new
    generation. Raises duckdb.Error and OSError.
    """
    made = _path(directory, generation + 1)

    def fill(new: str) -> None:
        connection.execute(f"INSERT INTO {new}.given {select}")

    make_file(connection, made, _CREATE, fill, REWRITTEN)
    connection.execute(f"ATTACH '{quoted(made)}' AS {_name(generation + 1)}")
    if show is not None:
        show(generation + 1)
    connection.execute(f"DETACH {_name(generation)}")
    remove(_path(directory, generation))
    return generation + 1


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
        given.tenant,
    )


def _key(text: str) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big")


def _subject_key(given: v1.Feedback) -> int:
    return (
        _of_call(given.call_id, given.tenant)
        if given.call_id
        else _of_request(given.request_id, given.tenant)
    )


def _of_call(call_id: str, tenant: str) -> int:
    return _key(f"call:{call_id}\0{tenant}" if tenant else f"call:{call_id}")


def _of_request(request_id: str, tenant: str) -> int:
    return _key(f"request:{request_id}\0{tenant}" if tenant else f"request:{request_id}")


def _subjects(record: v1.Record) -> list[int]:
    keys = [_of_call(record.call_id, record.tenant)]
    return [*keys, _of_request(record.request_id, record.tenant)] if record.request_id else keys


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
