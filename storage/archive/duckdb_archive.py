"""DuckDB engine: the embedded archive, one file for each ingest day.

    ARCHIVE/lock                        held by the one process that uses it
    ARCHIVE/records-2026-11-21.duckdb   what came on that day (UTC)
    ARCHIVE/feedback.duckdb             see duckdb_feedback
    ARCHIVE/new.duckdb                  a file that is being made
    ARCHIVE/tmp/                        what the engine spills

A batch goes into the current day's file in one transaction, together with the ranges that it covers. What has
been received is therefore the union over all files, and no crash can part a record from its range. Days are
dropped as files, since DuckDB does not shrink one (docs/decisions/0007). The tables are in duckdb_queries.

The engine's files are opened by one instance, whose memory is limited; it may touch nothing but the archive's
directory, and loads no extension.
"""

import contextlib
import dataclasses
import datetime
import fcntl
import os
import re
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb

from infertap import v1
from infertap.query import Query, is_segment, join_segments
from storage.archive.duckdb_feedback import FeedbackTable, subject_of_call, subject_of_request
from storage.archive.duckdb_files import make_file, quoted
from storage.archive.duckdb_queries import (
    CALLS_OF,
    COLUMNS,
    CREATE,
    conditions,
    insert_statement,
    record_row,
    stored_of,
)
from storage.archive.duckdb_segments import CallSegments
from storage.archive.entries import Entry, FeedbackPage, GapEntry, Page, Position, RecordEntry, Stored
from storage.archive.interface import ArchiveError, Interrupt
from storage.archive.ranges import Range, RangeSet

_DAY_NS: Final = 86_400_000_000_000
_FILE: Final = re.compile(r"records-(\d{4}-\d\d-\d\d)\.duckdb")
# Rows that one step of a query reads: few at first, for they may be large; more once they prove to be small.
_FIRST_ROWS: Final = 50
_STEP_ROWS: Final = 1000
# Rows that a page is looked for among, before it is handed out as it is.
_MOST_ROWS: Final = 50_000
# Bytes of records in one page, but for one record alone: clients of gRPC take 4 MiB unless told otherwise.
_PAGE_BYTES: Final = 7 << 19
# What a record costs on a page beside its own bytes: what its server adds, at most.
_ITEM_BYTES: Final = 64


class _Spool:
    """What has been received of one spool."""

    def __init__(self) -> None:
        self.records = RangeSet()
        self.all = RangeSet()


class DuckdbArchive:
    """See Archive."""

    def __init__(self, directory: Path, lock: int, connection: "duckdb.DuckDBPyConnection") -> None:
        """Use `open`."""
        self._directory = directory
        self._lock = lock
        self._connection = connection
        self._feedback = FeedbackTable.open(connection, directory)
        self._writing = threading.Lock()
        self._spools: dict[bytes, _Spool] = {}
        # Attached files, newest day first; replaced as a whole, so that readers need no lock.
        self._days: tuple[str, ...] = ()

    @classmethod
    def open(cls, directory: Path, memory_bytes: int) -> "DuckdbArchive":
        """Open or make the archive in `directory`; raises ArchiveError."""
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = _claim(directory)
        except OSError as error:
            raise ArchiveError(f"{directory}: {error.strerror}") from None
        try:
            archive = cls(directory, lock, _connect(directory, memory_bytes))
            archive._attach_all()
        except BaseException as error:
            os.close(lock)
            if isinstance(error, duckdb.Error):
                raise ArchiveError(f"{directory}: {_said(error)}") from None
            if isinstance(error, OSError):
                raise ArchiveError(f"{directory}: {error.strerror}") from None
            raise
        return archive

    def close(self) -> None:
        """See Archive."""
        with self._writing:
            if self._lock >= 0:
                self._feedback.close()
                self._connection.close()
                os.close(self._lock)
                self._lock = -1

    # -- writing

    def received(self, spool_id: bytes) -> list[Range]:
        """See Archive."""
        with self._writing:
            known = self._spools.get(spool_id)
            return list(known.all) if known else []

    def append(self, entries: Sequence[Entry], stored_ns: int) -> list[RecordEntry]:
        """See Archive."""
        with self._writing:
            fresh = self._fresh(entries)
            if fresh:
                try:
                    self._insert(fresh, stored_ns)
                except duckdb.Error as error:
                    raise ArchiveError(_said(error)) from None
                except OSError as error:
                    raise ArchiveError(os.strerror(error.errno or 0)) from None
                for entry in fresh:
                    self._note(entry.spool_id, entry.first, entry.last, isinstance(entry, GapEntry))
        return [entry for entry in fresh if isinstance(entry, RecordEntry)]

    def _fresh(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those that are not here yet, each once."""
        fresh: list[Entry] = []
        taken: set[tuple[bytes, int]] = set()
        for entry in entries:
            known = self._spools.get(entry.spool_id)
            key = (entry.spool_id, entry.first)
            if isinstance(entry, GapEntry):
                if known is None or not known.all.covers(entry.first, entry.last):
                    fresh.append(entry)
            elif key not in taken and (known is None or entry.sequence not in known.records):
                taken.add(key)
                fresh.append(entry)
        return fresh

    def _insert(self, fresh: Sequence[Entry], stored_ns: int) -> None:
        day = self._day(stored_ns)
        rows = [record_row(entry, stored_ns) for entry in fresh if isinstance(entry, RecordEntry)]
        with self._transaction() as connection:
            if rows:
                connection.execute(insert_statement(day, "records"), _columns(rows))
            connection.execute(insert_statement(day, "received"), _columns(_ranges(fresh, stored_ns)))

    @contextlib.contextmanager
    def _transaction(self) -> "Iterator[duckdb.DuckDBPyConnection]":
        connection = self._connection
        connection.execute("BEGIN")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(duckdb.Error):
                connection.execute("ROLLBACK")
            raise

    def _note(self, spool_id: bytes, first: int, last: int, is_gap: bool) -> None:
        known = self._spools.setdefault(spool_id, _Spool())
        known.all.add(first, last)
        if not is_gap:
            known.records.add(first, last)

    # -- files

    def _day(self, stored_ns: int) -> str:
        """The attached name of that day's file, which is made where it is not there."""
        date = _date(stored_ns)
        name = _attached_name(date)
        if name not in self._days:
            self._attach(date)
        return name

    def _attach_all(self) -> None:
        for each in sorted(self._directory.iterdir()):
            match = _FILE.fullmatch(each.name)
            if match is not None:
                self._attach(match[1])
        for day in self._days:
            self._read_received(day)

    def _attach(self, date: str) -> None:
        name = _attached_name(date)
        path = self._directory / f"records-{date}.duckdb"
        if not path.exists():
            make_file(self._connection, path, CREATE)
        self._connection.execute(f"ATTACH IF NOT EXISTS '{quoted(path)}' AS {name}")
        self._days = tuple(sorted({*self._days, name}, reverse=True))

    def _read_received(self, day: str) -> None:
        rows = self._connection.execute(
            f"SELECT spool_id, first, last, is_gap FROM {day}.received ORDER BY spool_id, first"  # noqa: S608
        ).fetchall()
        for spool_id, first, last, is_gap in rows:
            self._note(bytes(spool_id), first, last, is_gap)

    # -- reading

    def get(self, call_id: str) -> v1.Record | None:
        """See Archive."""
        with self._cursor(Interrupt()) as cursor:
            for day in self._days:
                row = cursor.execute(
                    f"SELECT {COLUMNS} FROM {day}.records WHERE call_id = ? ORDER BY stored_ns DESC LIMIT 1",  # noqa: S608
                    [call_id],
                ).fetchone()
                if row is not None:
                    stored = stored_of(row)
                    record = stored.served()
                    segments = CallSegments(call_id, stored.position, self._days)
                    return join_segments(segments.all(cursor)) if is_segment(record) else record
        return None

    def row(self, record: v1.Record) -> v1.Record | None:
        """See Archive."""
        if not is_segment(record):
            return record
        start_ns = record.timing.start.ToNanoseconds()
        with self._cursor(Interrupt()) as cursor:
            return self._row(cursor, Position(start_ns, start_ns, record.spool_id, record.sequence), record)

    def _row(
        self, cursor: "duckdb.DuckDBPyConnection", position: Position, record: v1.Record
    ) -> v1.Record | None:
        """The record where it is whole; its segments joined where it is the latest of them; else None."""
        if not is_segment(record):
            return record
        segments = CallSegments(record.call_id, position, self._days)
        return None if segments.has_later(cursor) else join_segments(segments.all(cursor))

    def page(self, query: Query, after: Position | None, size: int, interrupt: Interrupt) -> Page:
        """See Archive."""
        # What the engine has looked for is in no record.
        plain = dataclasses.replace(query, feedback=None)
        found: list[v1.Record] = []
        weight = looked_at = read_bytes = 0
        with self._cursor(interrupt) as cursor:
            while not interrupt.is_set and looked_at < _MOST_ROWS:
                small = min(_PAGE_BYTES * looked_at // max(read_bytes, 1), _STEP_ROWS)
                # Only a text is looked for outside the engine; else each row that is read is wanted.
                wanted = _STEP_ROWS if query.text else size - len(found)
                rows = self._next_rows(cursor, query, after, min(max(small, _FIRST_ROWS), wanted))
                if not rows:
                    return Page(found, None)
                for stored in rows:
                    looked_at += 1
                    read_bytes += len(stored.record)
                    record = self._row(cursor, stored.position, stored.served())
                    if record is not None and plain.matches(record):
                        weight += record.ByteSize() + _ITEM_BYTES
                        if found and weight > _PAGE_BYTES:
                            return Page(found, after)
                        found.append(record)
                        if len(found) == size:
                            return Page(found, stored.position)
                    after = stored.position
        return Page(found, after)

    def _next_rows(
        self, cursor: "duckdb.DuckDBPyConnection", query: Query, after: Position | None, most: int
    ) -> list[Stored]:
        """The next rows in order over all files that may match."""
        where, values = conditions(query, after)
        rows: list[Stored] = []
        for day in self._days:
            found = cursor.execute(
                f"SELECT {COLUMNS} FROM {day}.records WHERE {where} "  # noqa: S608
                f"ORDER BY start_ns DESC, spool_id DESC, sequence DESC LIMIT {most:d}",
                values,
            ).fetchall()
            rows += map(stored_of, found)
        rows.sort(key=lambda stored: stored.position, reverse=True)
        return rows[:most]

    # -- feedback

    def attach(self, given: Sequence[v1.Feedback]) -> list[bool]:
        """See Archive."""
        try:
            return self._feedback.attach(given)
        except duckdb.Error as error:
            raise ArchiveError(_said(error)) from None

    def feedback(self, call_id: str, request_id: str, below: int | None, size: int) -> FeedbackPage:
        """See Archive."""
        subjects = [subject_of_call(call_id)] if call_id else []
        subjects += [subject_of_request(request_id)] if request_id else []
        with self._cursor(Interrupt()) as cursor:
            return self._feedback.page(cursor, subjects, below, size)

    def join_feedback(self, records: Sequence[v1.Record], most_bytes: int) -> None:
        """See Archive."""
        with self._cursor(Interrupt()) as cursor:
            self._feedback.join(cursor, records, most_bytes)

    def calls_of(self, request_ids: Collection[str], most: int) -> dict[str, list[str]]:
        """See Archive."""
        found: dict[str, dict[str, None]] = {each: {} for each in request_ids}
        with self._cursor(Interrupt()) as cursor:
            for day in self._days if found else ():
                rows = cursor.execute(CALLS_OF.format(day=day), [list(found), most]).fetchall()
                for request_id, call_id in rows:
                    if len(found[request_id]) < most:
                        found[request_id][call_id] = None
        return {request_id: list(calls) for request_id, calls in found.items()}

    @contextlib.contextmanager
    def _cursor(self, interrupt: Interrupt) -> "Iterator[duckdb.DuckDBPyConnection]":
        try:
            with self._connection.cursor() as cursor:
                interrupt.during(cursor.interrupt)
                try:
                    yield cursor
                finally:
                    interrupt.during(None)
        except duckdb.InterruptException:
            raise ArchiveError("the query was ended") from None
        except duckdb.Error as error:
            raise ArchiveError(_said(error)) from None


def _connect(directory: Path, memory_bytes: int) -> "duckdb.DuckDBPyConnection":
    spill = directory / "tmp"
    spill.mkdir(exist_ok=True, mode=0o700)
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{memory_bytes >> 20}MiB",
            "temp_directory": str(spill),
            "threads": 2,
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
        },
    )
    connection.execute(f"SET allowed_directories = ['{quoted(directory)}']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _claim(directory: Path) -> int:
    """Hold the archive's lock; raises ArchiveError where another process has it."""
    lock = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise ArchiveError(f"{directory}: another storage uses this archive") from None
    return lock


def _ranges(fresh: Sequence[Entry], stored_ns: int) -> list[tuple[Any, ...]]:
    """Rows of `received`: records that follow each other share one."""
    rows: list[tuple[Any, ...]] = []
    spools: dict[bytes, RangeSet] = {}
    for entry in fresh:
        if isinstance(entry, GapEntry):
            gap = (entry.spool_id, entry.first, entry.last, True, entry.reason, entry.last_hash, stored_ns)
            rows.append(gap)
        else:
            spools.setdefault(entry.spool_id, RangeSet()).add(entry.sequence, entry.sequence)
    for spool_id, ranges in spools.items():
        rows += [(spool_id, first, last, False, None, None, stored_ns) for first, last in ranges]
    return rows


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _date(stored_ns: int) -> str:
    day = datetime.date(1970, 1, 1) + datetime.timedelta(days=stored_ns // _DAY_NS)
    return day.isoformat()


def _attached_name(date: str) -> str:
    return f"day_{date.replace('-', '_')}"


def _said(error: duckdb.Error) -> str:
    """The engine's first line: what follows may quote a statement's values."""
    return str(error).partition("\n")[0][:200]
