"""Removing in the ClickHouse engine: deletion by request, retention, and what there is on disk.

A deletion goes in steps of so many records, each in this order: the leaves that tell of it, tombstones, the
feedback, then the rows, which no query sees from then on (a lightweight DELETE); when no more match, the
parts are rewritten without them. Whoever writes one of these records at that very time finds its tombstone
(see clickhouse_writing).

Retention: when all of a day has passed its age, or there is too much, the day goes as a whole, with its
leaves, after the audit has stated what it held. What a rule for some models lets go earlier goes as by
request, but for the feedback. The table's TTL says the same a day later, for when no storage runs.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from infertap.query import Query
from storage.archive.clickhouse_arrivals import Arrivals, of_day, of_records
from storage.archive.clickhouse_conditions import Conditions
from storage.archive.clickhouse_connection import Connection
from storage.archive.clickhouse_tables import META, REQUESTS, TOMBSTONES, beneath
from storage.archive.clickhouse_writing import Writing, deletion_statement
from storage.archive.interface import ArchiveError, CountRemoved, Interrupt
from storage.archive.ranges import Range, RangeSet
from storage.archive.removals import (
    BY_AGE,
    BY_REQUEST,
    BY_SIZE,
    Deletion,
    Expired,
    Matched,
    ModelRule,
    Retention,
    Usage,
)
from storage.audit import Deleted

# Records that one step deletes: their keys fit into a statement.
_STEP_RECORDS: Final = 1_500
_STEP_FEEDBACK: Final = 500
_MUTATION_SECONDS: Final = 600
_POLL_SECONDS: Final = 0.05
_SECOND_NS: Final = 1_000_000_000
_HOUR_NS: Final = 3600 * _SECOND_NS
_DAY_SECONDS: Final = 86_400
_NO_LIMIT: Final = 1 << 63
# All segments of the calls that match, wherever they begin.
_MATCHING: Final = """
SELECT tenant, spool_id, sequence, previous_hash, hash, start_ns, length(record)
FROM {database}.records
WHERE {of_all} AND (tenant, spool_id, start_ns, call_id) IN (
    SELECT tenant, spool_id, start_ns, call_id FROM {database}.records
    WHERE {where} LIMIT 1 BY spool_id, sequence LIMIT {most:d})
LIMIT 1 BY spool_id, sequence
"""
_EARLIEST: Final = """
SELECT tenant, spool_id, sequence, previous_hash, hash, start_ns, length(record)
FROM {database}.records WHERE {such}
ORDER BY stored_ns, spool_id, sequence LIMIT 1 BY spool_id, sequence LIMIT {most:d}
"""
_MATCHED: Final = """
SELECT count(), sum(length(record)) FROM {database}.records FINAL WHERE {where}
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
WHERE spool_id = toFixedString(unhex({{spool:String}}), 16) AND reason = {{reason:String}}
ORDER BY sequence LIMIT 1 BY sequence
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
_MASKED: Final = """
SELECT count() FROM {parts}
WHERE database = '{database}' AND table IN ('records', 'records_local') AND active AND has_lightweight_delete
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
    record_bytes: int


class _Day(NamedTuple):
    """What was stored on a day."""

    name: str
    records: int
    disk_bytes: int

    @property
    def partition(self) -> int:
        """As the table of records is cut by it: 20261121."""
        return int(self.name.replace("-", ""))


class Removing:
    """Deletes and lets expire. Safe from any thread."""

    def __init__(self, connection: Connection, writing: Writing, arrivals: Arrivals) -> None:
        self._connection = connection
        self._writing = writing
        self._arrivals = arrivals
        # See Archive.on_removal.
        self.before_removal: Callable[[CountRemoved], object] = lambda _: None
        self._database = connection.location.database
        self._cluster = connection.location.cluster
        self._rewritten_ns = 0

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
        while rows := self._matching(query, interrupt):
            feedback += self._delete_rows(rows, reason, step_ns)
            records += len(rows)
            for row in rows:
                spools.setdefault(row.spool_id, RangeSet()).add(row.sequence, row.sequence)
            step_ns += 1
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
        """Delete these records, and on request their feedback; returns how much feedback."""
        deleted = [Deleted(row.tenant, row.spool_id, row.sequence, row.hash, reason) for row in rows]
        self._writing.tell_deleted(deleted, now_ns)
        self._connection.insert("tombstones", TOMBSTONES, [(*row[:5], reason, now_ns) for row in rows])
        starts = [row.start_ns for row in rows]
        first, last = min(starts), max(starts)
        self._tell_removal(of_records(self._database, [row[1:3] for row in rows], first, last))
        feedback = self._delete_feedback(now_ns, first, last) if reason == BY_REQUEST else 0
        keys = [(row.spool_id, row.sequence) for row in rows]
        self._connection.command(deletion_statement(self._beneath("records"), keys, first, last))
        return feedback

    def _delete_feedback(self, deleted_ns: int, first_ns: int, last_ns: int) -> int:
        """Of the calls whose tombstones were just written; returns how much it was."""
        going = (
            f"((spool_id, sequence) IN (SELECT spool_id, sequence FROM {self._database}.tombstones "
            f"WHERE deleted_ns = {deleted_ns:d}) AND start_ns >= {first_ns:d} AND start_ns <= {last_ns:d})"
        )
        such = _FEEDBACK.format(database=self._database, going=going)
        rows = self._connection.rows(
            "SELECT DISTINCT hex(tenant), hex(subject), hex(feedback_id) "
            f"FROM {self._database}.feedback WHERE {such}"
        )
        for begin in range(0, len(rows), _STEP_FEEDBACK):
            keys = ", ".join(
                f"(unhex('{tenant}'), unhex('{subject}'), unhex('{feedback_id}'))"
                for tenant, subject, feedback_id in rows[begin : begin + _STEP_FEEDBACK]
            )
            # Rewritten at once: there is little of it.
            self._connection.command(
                f"ALTER TABLE {self._beneath('feedback')} "
                f"DELETE WHERE (tenant, subject, feedback_id) IN ({keys})",
                settings={"mutations_sync": 2},
            )
        return len(rows)

    def _rewrite(self) -> None:
        """Have the parts rewritten without what was deleted, and wait for it. Raises ArchiveError."""
        if not self._begin_rewriting():
            return
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

    def _begin_rewriting(self) -> bool:
        """Have parts rewritten that hold what was deleted; whether there are any."""
        masked = _MASKED.format(database=self._database, parts=self._system("parts"))
        if not self._connection.rows(masked)[0][0]:
            return False
        self._connection.command(f"ALTER TABLE {self._beneath('records')} APPLY DELETED MASK")
        return True

    def _tell_removal(self, going: Conditions) -> None:
        self.before_removal(lambda after, query: self._arrivals.count_removed(going, after, query))

    # -- by retention

    def expire(self, retention: Retention, now_ns: int, on_drop: Callable[[str, str], object]) -> Expired:
        """See Archive. `on_drop` is called with a day before all that was stored on it is dropped."""
        self._tell_ages(retention, now_ns)
        self._writing.compact(now_ns)
        days = self._days()
        if days and self._is_to_drop(days, retention, now_ns):
            return self._drop(days[0], on_drop)
        rows, reason = self._expired(retention, now_ns)
        if rows:
            self._delete_rows(rows, reason, now_ns)
            return Expired(len(rows), 0, is_more=True)
        if now_ns - self._rewritten_ns > _DAY_SECONDS * _SECOND_NS:
            # Which is much work for what a few hours let go.
            self._rewritten_ns = now_ns
            self._begin_rewriting()
        return Expired()

    def _is_to_drop(self, days: Sequence[_Day], retention: Retention, now_ns: int) -> bool:
        """Whether the earliest day goes as a whole: nobody keeps it any longer, or there is too much."""
        longest = _longest_ns(retention)
        if longest is not None and self._last_stored(days[0]) < now_ns - longest:
            return True
        excess = sum(day.disk_bytes for day in days) - (retention.disk_bytes or _NO_LIMIT)
        return excess > 0 and len(days) > 1

    def _last_stored(self, day: _Day) -> int:
        [(last_ns,)] = self._connection.rows(
            f"SELECT max(stored_ns) FROM {self._database}.records "
            f"WHERE toYYYYMMDD(fromUnixTimestamp64Nano(stored_ns, 'UTC')) = {day.partition:d}"
        )
        return int(last_ns)

    def _drop(self, day: _Day, on_drop: Callable[[str, str], object]) -> Expired:
        self._tell_removal(of_day(self._database, day.partition))
        on_drop(day.name, day.name)
        for table, partition in (("records", str(day.partition)), ("leaves", f"'{day.name}'")):
            self._connection.command(f"ALTER TABLE {self._beneath(table)} DROP PARTITION {partition}")
        return Expired(day.records, day.disk_bytes, is_more=True)

    def _expired(self, retention: Retention, now_ns: int) -> tuple[list[_Row], str]:
        """Records that rules of some models let go, the earliest stored first; as many as one step takes."""
        longest = _longest_ns(retention)
        for number, rule in enumerate(retention.ages):
            if rule.most != longest:  # else they go with their day
                such = f"{_ruled(retention.ages, number)} AND stored_ns < {now_ns - rule.most:d}"
                if rows := self._earliest(such):
                    return rows, BY_AGE
        for number, rule in enumerate(retention.sizes):
            such = _ruled(retention.sizes, number)
            [(there,)] = self._connection.rows(
                f"SELECT sum(length(record)) FROM {self._database}.records FINAL WHERE {such}"
            )
            if there > rule.most:
                return _first_of(self._earliest(such), there - rule.most), BY_SIZE
        return [], ""

    def _earliest(self, such: str) -> list[_Row]:
        statement = _EARLIEST.format(database=self._database, such=such, most=_STEP_RECORDS)
        return [_Row(*row) for row in self._connection.rows(statement)]

    def _tell_ages(self, retention: Retention, now_ns: int) -> None:
        """Have the table's TTL say what the ages do, a day later: it is there for when no storage runs. A
        server whose clock says something else is not told.
        """
        [(server_ns,)] = self._connection.rows("SELECT toUnixTimestamp64Nano(now64(9))")
        if abs(server_ns - now_ns) > _HOUR_NS:
            return
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
    """The TTL of `records`, in ClickHouse's SQL: the ages, and a day. Empty for none."""
    return ", ".join(
        f"toDateTime(intDiv(stored_ns, {_SECOND_NS}), 'UTC') "
        f"+ toIntervalSecond({-(-rule.most // _SECOND_NS) + _DAY_SECONDS:d}) "
        f"DELETE WHERE {_ruled(retention.ages, number)}"
        for number, rule in enumerate(retention.ages)
    )


def _ruled(rules: Sequence[ModelRule], number: int) -> str:
    """Which records that rule is for: the first that names a model counts."""
    earlier = [f"NOT {_named(rule.model)}" for rule in rules[:number]]
    return " AND ".join([*earlier, _named(rules[number].model)])


def _named(model: str) -> str:
    if model == "*":
        return "1"
    escaped = model.removesuffix("*").replace("\\", "\\\\").replace("'", "\\'")
    return f"startsWith(model, '{escaped}')" if model.endswith("*") else f"(model = '{escaped}')"


def _longest_ns(retention: Retention) -> int | None:
    """The age at which everything has gone; None where something stays."""
    ages = retention.ages
    return max(rule.most for rule in ages) if any(rule.model == "*" for rule in ages) else None


def _first_of(rows: Sequence[_Row], excess: int) -> list[_Row]:
    """The first, until `excess` bytes are gone."""
    chosen: list[_Row] = []
    for row in rows:
        if excess <= 0:
            break
        chosen.append(row)
        excess -= row.record_bytes
    return chosen


def _check(query: Query) -> None:
    """What is deleted is what columns say: raises ArchiveError for a text."""
    if query.text or dataclasses.replace(query, text="") == Query(tenant=query.tenant):
        raise ArchiveError("deleting needs a filter, and one without a text")
