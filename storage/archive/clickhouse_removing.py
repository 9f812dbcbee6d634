"""Removing in the ClickHouse engine: deletion by request, retention, and what there is on disk.

A deletion goes in steps of so many records, each in this order: the leaves that tell of it, tombstones, the
feedback, then the rows, which no query sees from then on (a lightweight DELETE); when no more match, the
parts are rewritten without them. Whoever writes one of these records at that very time finds its tombstone
(see clickhouse_writing).

Retention is the server's: ages are the table's TTL, told to it where they differ from what it was told last.
When all of a day has passed its age, or there is too much, the day goes as a whole, with its leaves, after
the audit has stated what it held. A record that a rule for some models lets expire earlier leaves no tombstone.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from infertap.query import Query
from storage.archive.clickhouse_conditions import Conditions
from storage.archive.clickhouse_connection import Connection
from storage.archive.clickhouse_tables import META, REQUESTS, TOMBSTONES, beneath
from storage.archive.clickhouse_writing import Writing, day_of
from storage.archive.interface import ArchiveError, Interrupt
from storage.archive.ranges import Range, RangeSet
from storage.archive.removals import BY_REQUEST, Deletion, Expired, Matched, Retention, Usage
from storage.audit import Deleted

# Records that one step deletes.
_STEP_RECORDS: Final = 5_000
_MUTATION_SECONDS: Final = 600
_POLL_SECONDS: Final = 0.05
_SECOND_NS: Final = 1_000_000_000
_NO_LIMIT: Final = 1 << 63
# All segments of the calls that match, wherever they begin.
_MATCHING: Final = """
SELECT tenant, spool_id, sequence, previous_hash, hash, start_ns FROM {database}.records
WHERE {of_all} AND (tenant, spool_id, start_ns, call_id) IN (
    SELECT tenant, spool_id, start_ns, call_id FROM {database}.records
    WHERE {where} LIMIT 1 BY spool_id, sequence LIMIT {most:d})
LIMIT 1 BY spool_id, sequence
"""
_MATCHED: Final = """
SELECT count(), sum(length(record)) FROM {database}.records FINAL WHERE {where}
"""
_GONE: Final = "SELECT spool_id, sequence FROM {database}.tombstones WHERE deleted_ns = {deleted_ns:d}"
_DELETE: Final = """
DELETE FROM {table} WHERE (spool_id, sequence) IN ({gone}) AND start_ns >= {first:d} AND start_ns <= {last:d}
"""
# Of these calls; and of their requests, where no other call has one.
_FEEDBACK: Final = """
(tenant, call_id) IN (SELECT tenant, call_id FROM {database}.records WHERE {going})
OR (request_id <> '' AND (tenant, request_id) IN (
    SELECT tenant, request_id FROM {database}.records
    WHERE request_id IN (SELECT request_id FROM {database}.records WHERE {going})
    GROUP BY tenant, request_id HAVING min({going})))
"""
_FORGOTTEN: Final = """
SELECT sequence FROM {database}.tombstones
WHERE spool_id = unhex({{spool:String}}) AND reason = {{reason:String}} ORDER BY sequence LIMIT 1 BY sequence
"""
_WAITING: Final = """
SELECT count(), countIf(latest_fail_reason <> '') FROM {mutations}
WHERE database = '{database}' AND table IN ('records', 'records_local') AND NOT is_done
"""
_DAYS: Final = """
SELECT toString(toDate(parseDateTimeBestEffort(replaceAll(partition, '''', '')))) AS day,
    sum(if(table LIKE 'records%', rows, 0)), sum(bytes_on_disk) FROM {parts}
WHERE database = '{database}' AND table IN ('records', 'records_local', 'leaves', 'leaves_local') AND active
GROUP BY day ORDER BY day
"""
_USAGE: Final = "SELECT sum(bytes_on_disk), count() FROM {parts} WHERE database = '{database}' AND active"


class _Row(NamedTuple):
    """A record that is to go; but for its start as a tombstone begins."""

    tenant: str
    spool_id: bytes
    sequence: int
    previous_hash: bytes
    hash: bytes
    start_ns: int


class _Day(NamedTuple):
    """What was stored on a day."""

    name: str
    records: int
    disk_bytes: int


class Removing:
    """Deletes and lets expire. Safe from any thread."""

    def __init__(self, connection: Connection, writing: Writing) -> None:
        self._connection = connection
        self._writing = writing
        self._database = connection.location.database
        self._cluster = connection.location.cluster

    # -- by request

    def matched(self, query: Query, interrupt: Interrupt) -> Matched:
        """See Archive."""
        _check(query)
        where = Conditions(self._database)
        where.of_all(query)
        where.of_row(query)
        statement = _MATCHED.format(database=self._database, where=where)
        [(records, record_bytes)] = self._connection.rows(statement, where.values, interrupt)
        feedback = _FEEDBACK.format(database=self._database, going=where)
        counted = self._connection.rows(
            f"SELECT count() FROM {self._database}.feedback FINAL WHERE {feedback}", where.values, interrupt
        )
        return Matched(records, record_bytes, counted[0][0])

    def delete(self, query: Query, reason: str, now_ns: int, interrupt: Interrupt) -> Deletion:
        """See Archive."""
        _check(query)
        if query.user and query == Query(user=query.user, tenant=query.tenant):
            asked = (query.tenant or "", query.tenant is None, query.user, now_ns)
            self._connection.insert("requests", REQUESTS, [asked])
        records = feedback = 0
        spools: dict[bytes, RangeSet] = {}
        # Each step's tombstones are told by their time.
        step_ns = now_ns
        while not interrupt.is_set:
            rows = self._matching(query, interrupt)
            if not rows:
                break
            feedback += self._delete_rows(rows, reason, step_ns)
            records += len(rows)
            for row in rows:
                spools.setdefault(row.spool_id, RangeSet()).add(row.sequence, row.sequence)
            step_ns += 1
        if records:
            self._rewrite()
        return Deletion(records, feedback, {spool: list(ranges) for spool, ranges in spools.items()})

    def forgotten(self, spool_id: bytes) -> list[Range]:
        """See Archive."""
        rows = self._connection.rows(
            _FORGOTTEN.format(database=self._database), {"spool": spool_id.hex(), "reason": BY_REQUEST}
        )
        ranges = RangeSet()
        for (sequence,) in rows:
            ranges.add(sequence, sequence)
        return list(ranges)

    def _matching(self, query: Query, interrupt: Interrupt) -> list[_Row]:
        where = Conditions(self._database)
        where.of_all(query)
        of_all = str(where)
        where.of_row(query)
        statement = _MATCHING.format(database=self._database, of_all=of_all, where=where, most=_STEP_RECORDS)
        return [_Row(*row) for row in self._connection.rows(statement, where.values, interrupt)]

    def _delete_rows(self, rows: Sequence[_Row], reason: str, now_ns: int) -> int:
        """Delete these records and their feedback; returns how much feedback."""
        deleted = [Deleted(row.tenant, row.spool_id, row.sequence, row.hash, reason) for row in rows]
        self._writing.tell_deleted(deleted, now_ns)
        tombstones = [(*row[:5], reason, now_ns) for row in rows]
        self._connection.insert("tombstones", TOMBSTONES, tombstones)
        gone = _GONE.format(database=self._database, deleted_ns=now_ns)
        starts = [row.start_ns for row in rows]
        feedback = self._delete_feedback(gone, min(starts), max(starts))
        self._connection.command(
            _DELETE.format(table=self._beneath("records"), gone=gone, first=min(starts), last=max(starts))
        )
        return feedback

    def _delete_feedback(self, gone: str, first_ns: int, last_ns: int) -> int:
        going = f"((spool_id, sequence) IN ({gone}) AND start_ns >= {first_ns:d} AND start_ns <= {last_ns:d})"
        such = _FEEDBACK.format(database=self._database, going=going)
        [(count,)] = self._connection.rows(
            f"SELECT count() FROM {self._database}.feedback FINAL WHERE {such}"
        )
        if count:
            # Rewritten at once: there is little of it.
            self._connection.command(
                f"ALTER TABLE {self._beneath('feedback')} DELETE WHERE {such}", settings={"mutations_sync": 2}
            )
        return int(count)

    def _rewrite(self) -> None:
        """Have the parts rewritten without what was deleted, and wait for it. Raises ArchiveError."""
        self._connection.command(f"ALTER TABLE {self._beneath('records')} APPLY DELETED MASK")
        mutations = self._system("mutations")
        statement = _WAITING.format(database=self._database, mutations=mutations)
        ends = time.monotonic() + _MUTATION_SECONDS
        while True:
            [(waiting, failed)] = self._connection.rows(statement)
            if not waiting:
                return
            if failed or time.monotonic() > ends:
                raise ArchiveError("deleted, but ClickHouse has not yet rewritten the parts that held it")
            time.sleep(_POLL_SECONDS)

    # -- by retention

    def expire(self, retention: Retention, now_ns: int, on_drop: Callable[[str, str], object]) -> Expired:
        """See Archive. `on_drop` is called with a day before all that was stored on it is dropped."""
        self._tell_ages(retention, now_ns)
        self._writing.compact(now_ns)
        days = self._days()
        aged = [day for day in days if day.name < _first_day(retention, now_ns)]
        beyond = sum(day.disk_bytes for day in days) - _limit_bytes(retention)
        if not aged and (beyond <= 0 or len(days) < 2):
            return Expired()
        day = days[0]
        on_drop(day.name, day.name)
        for table, partition in (("records", day.name.replace("-", "")), ("leaves", day.name)):
            self._connection.command(f"ALTER TABLE {self._beneath(table)} DROP PARTITION '{partition}'")
        return Expired(day.records, day.disk_bytes, is_more=len(aged) > 1 or beyond > day.disk_bytes)

    def _tell_ages(self, retention: Retention, now_ns: int) -> None:
        """Have the table's TTL say what the ages do."""
        wanted = time_to_live(retention)
        told = self._connection.rows(
            f"SELECT value FROM {self._database}.meta FINAL WHERE name = 'time to live'"
        )
        if wanted.encode() == (told[0][0] if told else b""):
            return
        what = f"MODIFY TTL {wanted}" if wanted else "REMOVE TTL"
        self._connection.command(f"ALTER TABLE {self._beneath('records')} {what}")
        self._connection.insert("meta", META, [("time to live", wanted, now_ns)])

    def _days(self) -> list[_Day]:
        """The days of storing of which there are records or leaves, the earliest first."""
        rows = self._connection.rows(_DAYS.format(database=self._database, parts=self._system("parts")), {})
        return [_Day(*row) for row in rows]

    def usage(self) -> Usage:
        """See Archive."""
        statement = _USAGE.format(database=self._database, parts=self._system("parts"))
        [(disk_bytes, files)] = self._connection.rows(statement)
        return Usage(disk_bytes, files, 0)

    def _beneath(self, table: str) -> str:
        return f"{self._database}.{beneath(table, self._cluster)}"

    def _system(self, table: str) -> str:
        """A system table, of every server of the cluster."""
        return (
            f"clusterAllReplicas('{self._cluster}', system.{table})" if self._cluster else f"system.{table}"
        )


def time_to_live(retention: Retention) -> str:
    """The TTL of `records`, in ClickHouse's SQL: the first rule that names a model counts. Empty for none."""
    clauses: list[str] = []
    earlier: list[str] = []
    for rule in retention.ages:
        such = _named(rule.model)
        where = " AND ".join([*(f"NOT {each}" for each in earlier), such])
        seconds = max(-(-rule.most // _SECOND_NS), 1)
        clauses.append(
            f"toDateTime(intDiv(stored_ns, {_SECOND_NS}), 'UTC') + toIntervalSecond({seconds:d}) "
            f"DELETE WHERE {where}"
        )
        earlier.append(such)
    return ", ".join(clauses)


def _named(model: str) -> str:
    if model == "*":
        return "1"
    escaped = model.removesuffix("*").replace("\\", "\\\\").replace("'", "\\'")
    return f"startsWith(model, '{escaped}')" if model.endswith("*") else f"(model = '{escaped}')"


def _first_day(retention: Retention, now_ns: int) -> str:
    """The first day of which something is still to be kept; of the days before it the server has dropped, or
    is about to drop, every record.
    """
    longest = next((rule.most for rule in retention.ages if rule.model == "*"), None)
    if longest is None:
        return ""
    return day_of(max(now_ns - max(longest, *(rule.most for rule in retention.ages)), 0))


def _limit_bytes(retention: Retention) -> int:
    """What all records may take; that of a few models alone is for those who have a directory."""
    whole = [rule.most for rule in retention.sizes if rule.model == "*"]
    return min([*whole, retention.disk_bytes or _NO_LIMIT])


def _check(query: Query) -> None:
    """What is deleted is what columns say: raises ArchiveError for a text."""
    if query.text or dataclasses.replace(query, text="") == Query(tenant=query.tenant):
        raise ArchiveError("deleting needs a filter, and one without a text")
