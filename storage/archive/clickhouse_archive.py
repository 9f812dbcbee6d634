"""ClickHouse engine: an archive that any number of storage processes share.

Nothing is kept here between two calls but a connection, and the audit's trees of what this process wrote. The
tables are made beforehand (`infertap storage migrate`; see clickhouse_tables): where they are missing, or of
another version, the archive isn't opened.
"""

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from contextlib import AbstractContextManager

from infertap import v1
from infertap.query import Query, StatsQuery
from infertap.verification import LogId
from storage.archive.clickhouse_arrivals import Arrivals
from storage.archive.clickhouse_audit import AuditTables
from storage.archive.clickhouse_connection import Connection
from storage.archive.clickhouse_expiry import Expiring
from storage.archive.clickhouse_feedback import FeedbackTable, subject_of_call, subject_of_request
from storage.archive.clickhouse_location import Location
from storage.archive.clickhouse_migration import check_version
from storage.archive.clickhouse_pages import Reading
from storage.archive.clickhouse_removing import Removing
from storage.archive.clickhouse_stats import Statistics
from storage.archive.clickhouse_writing import Writing
from storage.archive.entries import Arrival, Entry, FeedbackPage, Page, Position, RecordEntry, Stored
from storage.archive.interface import ArchiveError, CountRemoved, Interrupt
from storage.archive.ranges import Range
from storage.archive.removals import Damage, Deletion, Expired, Matched, Retention, SnapshotFile, Usage


class ClickhouseArchive:
    """See Archive."""

    def __init__(self, connection: Connection) -> None:
        """Use `open`."""
        self._connection = connection
        self._writing = Writing(connection)
        self._reading = Reading(connection)
        self._statistics = Statistics(connection)
        self._feedback = FeedbackTable(connection)
        self._arrivals = Arrivals(connection, self._reading)
        self._removing = Removing(connection, self._writing, self._arrivals)
        self._expiring = Expiring(connection, self._writing, self._removing)
        # What the audit reads and writes.
        self.audit = AuditTables(connection)
        # Called with a day's name, twice, before its records go; see storage.upkeep.auditing.
        self.on_drop: Callable[[str, str], object] = _drop_untold

    @classmethod
    def open(cls, location: Location, memory_bytes: int) -> "ClickhouseArchive":
        """The archive in a database whose tables are there; raises ArchiveError."""
        connection = Connection(location, memory_bytes)
        try:
            check_version(connection)
        except ArchiveError:
            connection.close()
            raise
        return cls(connection)

    def close(self) -> None:
        """See Archive."""
        self._connection.close()

    # -- writing

    def received(self, spool_id: bytes) -> list[Range]:
        """See Archive."""
        return self._writing.received(spool_id)

    def append(self, entries: Sequence[Entry], stored_ns: int) -> list[RecordEntry]:
        """See Archive. Where it raises, some of the entries may be seen; sent again, each is seen once."""
        return self._writing.append(entries, stored_ns)

    def heads(self) -> Mapping[LogId, tuple[int, bytes]]:
        """Size and root of each log that this process writes."""
        return self._writing.heads()

    # -- reading

    def get(
        self, call_id: str, tenant: str | None = None, interrupt: Interrupt | None = None
    ) -> v1.Record | None:
        """See Archive."""
        return self._reading.get(call_id, tenant, interrupt)

    def row(self, record: v1.Record, interrupt: Interrupt | None = None) -> v1.Record | None:
        """See Archive."""
        return self._reading.row(record, None, interrupt)

    def page(self, query: Query, after: Position | None, size: int, interrupt: Interrupt) -> Page:
        """See Archive."""
        return self._reading.page(query, after, size, interrupt)

    def arrived(self, since_ns: int, known: Container[tuple[bytes, int]], most: int) -> list[Stored]:
        """See SharedArchive."""
        return self._reading.arrived(since_ns, known, most)

    def arrivals(self, after: Arrival, most: int, most_bytes: int, interrupt: Interrupt) -> list[Stored]:
        """See Archive."""
        return self._arrivals.after(after, most, most_bytes, interrupt)

    def latest_arrival(self) -> Arrival:
        """See Archive."""
        return self._arrivals.latest()

    def waiting(self, after: Arrival, interrupt: Interrupt) -> int:
        """See Archive."""
        return self._arrivals.waiting(after, interrupt)

    def count(self, query: Query, interrupt: Interrupt) -> int:
        """See Archive."""
        return self._statistics.count(query, interrupt)

    def stats(self, asked: StatsQuery, interrupt: Interrupt) -> v1.GetStatsResponse:
        """See Archive."""
        return self._statistics.stats(asked, interrupt)

    def calls_of(
        self,
        request_ids: Collection[str],
        most: int,
        tenant: str | None = None,
        interrupt: Interrupt | None = None,
    ) -> dict[str, list[str]]:
        """See Archive."""
        return self._reading.calls_of(request_ids, most, tenant, interrupt)

    # -- feedback

    def attach(self, given: Sequence[v1.Feedback]) -> list[bool]:
        """See Archive."""
        return self._feedback.attach(given)

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
        subjects = [subject_of_call(call_id)] if call_id else []
        subjects += [subject_of_request(request_id)] if request_id else []
        return self._feedback.page(subjects, below, size, tenant, interrupt)

    def join_feedback(
        self, records: Sequence[v1.Record], most_bytes: int, interrupt: Interrupt | None = None
    ) -> None:
        """See Archive."""
        self._feedback.join(records, most_bytes, interrupt)

    # -- removing

    def on_removal(self, told: Callable[[CountRemoved], object]) -> None:
        """See Archive. What the table's TTL removes by itself, while no storage runs, is not told."""
        self._removing.before_removal = told

    def on_forgotten(self, told: Callable[[Mapping[bytes, Sequence[Range]]], object]) -> None:
        """See Archive: spools of all processes are to hear of it."""

    def matched(self, query: Query, interrupt: Interrupt) -> Matched:
        """See Archive."""
        return self._removing.matched(query, interrupt)

    def delete(self, query: Query, reason: str, now_ns: int, interrupt: Interrupt) -> Deletion:
        """See Archive. Files that held what was deleted are removed by the server within a minute."""
        return self._removing.delete(query, reason, now_ns, interrupt)

    def deleted_since(self, since_ns: int, spool_ids: Collection[bytes]) -> dict[bytes, list[Range]]:
        """See SharedArchive."""
        return self._removing.deleted_since(since_ns, spool_ids)

    def forgotten(self, spool_id: bytes) -> list[Range]:
        """See Archive."""
        return self._removing.forgotten(spool_id)

    def expire(self, retention: Retention, now_ns: int) -> Expired:
        """See Archive. Ages are the table's TTL, which the server follows by itself: they are not counted."""
        return self._expiring.expire(retention, now_ns, self.on_drop)

    def usage(self) -> Usage:
        """See Archive. In place of files: parts."""
        return self._removing.usage()

    def damages(self) -> list[Damage]:
        """See Archive. ClickHouse sets damaged parts aside, and says so, itself."""
        return []

    def snapshot(self) -> AbstractContextManager[Sequence[SnapshotFile]]:
        """ClickHouse has a way of its own: raises ArchiveError that says so."""
        raise ArchiveError("ClickHouse is backed up by its own BACKUP DATABASE; see docs/scaling.md")


def _drop_untold(_: str, __: str) -> None:
    """Nobody wants to know."""
