"""DuckDB engine: the embedded archive, used by one process: files of records and what stands beside them.

    ARCHIVE/lock             held by the one process that uses it
    ARCHIVE/records-*        see duckdb_parts; their tables in duckdb_schema
    ARCHIVE/feedback.duckdb  see duckdb_feedback
    ARCHIVE/kept.duckdb      see duckdb_kept
    ARCHIVE/audit.duckdb     see duckdb_audit
    ARCHIVE/begun.duckdb     see duckdb_begun
    ARCHIVE/damaged-*        see duckdb_damage
    ARCHIVE/snapshot/        see duckdb_snapshot
    ARCHIVE/restoring        while a backup is restored: no archive yet
    ARCHIVE/new.duckdb, rewritten.duckdb         files that are being made
    ARCHIVE/tmp/             what the engine spills

This is the engine's one face: each thing that an archive does is in a module of its own.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import duckdb

from infertap import v1
from infertap.query import Query, StatsQuery
from infertap.verification import LogId
from storage.archive.duckdb_arrivals import Arrivals
from storage.archive.duckdb_audit import AuditTables
from storage.archive.duckdb_calls import count_calls
from storage.archive.duckdb_files import claim, said
from storage.archive.duckdb_opening import Opened, Tell, open_files
from storage.archive.duckdb_reading import Reading
from storage.archive.duckdb_removing import Removing
from storage.archive.duckdb_snapshot import take_snapshot
from storage.archive.duckdb_stats import Holding, read_stats
from storage.archive.duckdb_usage import usage_of
from storage.archive.entries import Arrival, Entry, FeedbackPage, Page, Position, RecordEntry, Stored
from storage.archive.interface import ArchiveError, CountRemoved, Interrupt
from storage.archive.ranges import Range
from storage.archive.removals import Damage, Deletion, Expired, Matched, Retention, SnapshotFile, Usage

# Whether a backup is being restored; see storage.restore.
RESTORING: Final = "restoring"
# How large a file of records gets, about: what is rewritten or dropped at once. Several are read faster than
# many; but dropping one of few frees much more than is needed.
PART_BYTES: Final = 512 << 20
_PARTS_OF_LIMIT: Final = 32


def part_bytes_for(disk_bytes: int | None) -> int:
    """How large files are to get where the archive is to be kept under so much."""
    return PART_BYTES if disk_bytes is None else min(PART_BYTES, disk_bytes // _PARTS_OF_LIMIT)


def tell_nobody(event: str, **facts: object) -> None:
    """Where nobody wants to know what a start does."""


class DuckdbArchive:
    """See Archive."""

    def __init__(self, directory: Path, lock: int, opened: Opened, memory_bytes: int) -> None:
        """Use `open`."""
        self._directory = directory
        self._lock = lock
        self._opened = opened
        self._reading = Reading(opened.connection, opened.parts, opened.examining.suspect)
        self._holding = Holding(memory_bytes)
        self._removing = Removing(opened, self._reading)
        self._arrivals = Arrivals(opened.parts, self._reading, opened.writing)

    @classmethod
    def open(
        cls, directory: Path, memory_bytes: int, tell: Tell = tell_nobody, part_bytes: int = PART_BYTES
    ) -> "DuckdbArchive":
        """Open or make the archive in `directory`; `tell` hears of what takes long or was found. Raises
        ArchiveError.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = claim(directory)
            if (directory / RESTORING).exists():
                os.close(lock)
                raise ArchiveError(f"{directory}: restoring a backup did not end here; restore it again")
        except OSError as error:
            raise ArchiveError(f"{directory}: {error.strerror}") from None
        try:
            return cls(directory, lock, open_files(directory, memory_bytes, part_bytes, tell), memory_bytes)
        except BaseException as error:
            os.close(lock)
            if isinstance(error, duckdb.Error):
                raise ArchiveError(f"{directory}: {said(error)}") from None
            if isinstance(error, OSError):
                raise ArchiveError(f"{directory}: {error.strerror}") from None
            if isinstance(error, ArchiveError):
                raise ArchiveError(f"{directory}: {error}") from None
            raise

    def close(self) -> None:
        """See Archive."""
        if self._lock >= 0:
            lock, self._lock = self._lock, -1
            self._opened.close()
            os.close(lock)

    # -- for the audit

    @property
    def audit(self) -> AuditTables:
        """What the audit reads and writes."""
        return self._opened.audit

    def heads(self) -> dict[LogId, tuple[int, bytes]]:
        """Size and root of each of the audit's logs that this run writes."""
        return self._opened.writing.heads()

    @property
    def on_drop(self) -> Callable[[str, str], object]:
        """Called with the day of a file and its attached name, before it is dropped with its leaves."""
        return self._removing.on_drop

    @on_drop.setter
    def on_drop(self, act: Callable[[str, str], object]) -> None:
        self._removing.on_drop = act

    # -- writing

    def received(self, spool_id: bytes) -> list[Range]:
        """See Archive."""
        return self._opened.writing.received(spool_id)

    def append(self, entries: Sequence[Entry], stored_ns: int) -> list[RecordEntry]:
        """See Archive."""
        return self._opened.writing.append(entries, stored_ns)

    # -- reading

    def get(
        self, call_id: str, tenant: str | None = None, interrupt: Interrupt | None = None
    ) -> v1.Record | None:
        """See Archive."""
        return self._reading.get(call_id, tenant, interrupt)

    def row(self, record: v1.Record, interrupt: Interrupt | None = None) -> v1.Record | None:
        """See Archive."""
        return self._reading.row(record, interrupt)

    def page(self, query: Query, after: Position | None, size: int, interrupt: Interrupt) -> Page:
        """See Archive."""
        return self._reading.page(query, after, size, interrupt)

    def count(self, query: Query, interrupt: Interrupt) -> int:
        """See Archive."""
        with self._reading.parts_of(query, interrupt) as (cursor, parts):
            return count_calls(cursor, parts, query)

    def stats(self, asked: StatsQuery, interrupt: Interrupt) -> v1.GetStatsResponse:
        """See Archive."""
        with self._reading.parts_of(asked.query, interrupt) as (cursor, parts):
            return read_stats(cursor, parts, asked, interrupt, self._holding)

    def calls_of(
        self,
        request_ids: Collection[str],
        most: int,
        tenant: str | None = None,
        interrupt: Interrupt | None = None,
    ) -> dict[str, list[str]]:
        """See Archive."""
        return self._reading.calls_of(request_ids, most, tenant, interrupt)

    def arrivals(self, after: Arrival, most: int, most_bytes: int, interrupt: Interrupt) -> list[Stored]:
        """See Archive."""
        return self._arrivals.after(after, most, most_bytes, interrupt)

    def latest_arrival(self) -> Arrival:
        """See Archive."""
        return self._arrivals.latest()

    def waiting(self, after: Arrival, interrupt: Interrupt) -> int:
        """See Archive."""
        return self._arrivals.waiting(after, interrupt)

    # -- feedback

    def attach(self, given: Sequence[v1.Feedback]) -> list[bool]:
        """See Archive."""
        try:
            return self._opened.feedback.attach(given)
        except duckdb.Error as error:
            raise ArchiveError(said(error)) from None

    def feedback(
        self,
        call_id: str,
        request_id: str,
        below: int | None,
        size: int,
        *,
        tenant: str | None = None,
        interrupt: Interrupt | None = None,
    ) -> FeedbackPage:
        """See Archive."""
        with self._reading.cursor(interrupt) as cursor:
            return self._opened.feedback.page(cursor, call_id, request_id, below, size, tenant=tenant)

    def join_feedback(
        self, records: Sequence[v1.Record], most_bytes: int, interrupt: Interrupt | None = None
    ) -> None:
        """See Archive."""
        with self._reading.cursor(interrupt) as cursor:
            self._opened.feedback.join(cursor, records, most_bytes)

    # -- removing

    def on_removal(self, told: Callable[[CountRemoved], object]) -> None:
        """See Archive."""
        self._removing.before_removal = told

    def on_forgotten(self, told: Callable[[Mapping[bytes, Sequence[Range]]], object]) -> None:
        """See Archive."""
        self._opened.kept.on_forgotten = told

    def matched(self, query: Query, interrupt: Interrupt) -> Matched:
        """See Archive."""
        return self._removing.matched(query, interrupt)

    def delete(self, query: Query, reason: str, now_ns: int, interrupt: Interrupt) -> Deletion:
        """See Archive."""
        return self._removing.delete(query, reason, now_ns, interrupt)

    def forgotten(self, spool_id: bytes) -> list[Range]:
        """See Archive."""
        return self._opened.kept.forgotten(spool_id)

    def expire(self, retention: Retention, now_ns: int) -> Expired:
        """See Archive."""
        return self._removing.expire(retention, now_ns)

    # -- the files

    def usage(self) -> Usage:
        """See Archive."""
        try:
            return usage_of(self._directory)
        except OSError as error:
            raise ArchiveError(error.strerror or type(error).__name__) from None

    def damages(self) -> list[Damage]:
        """See Archive."""
        return self._opened.kept.damages()

    def snapshot(self) -> AbstractContextManager[Sequence[SnapshotFile]]:
        """See Archive."""
        return take_snapshot(self._opened, self._directory, self._removing.lock)
