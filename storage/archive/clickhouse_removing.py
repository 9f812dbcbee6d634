"""Removing in the ClickHouse engine: deletion by request, who hears of it, and what there is on disk.

A deletion goes in steps of so many records, each in this order: the leaves that tell of it, tombstones, the
feedback, then the rows, which no query sees from then on (a lightweight DELETE); when no more match, the
parts are rewritten without them. Whoever writes one of these records at that very time finds its tombstone
(see clickhouse_writing); on a cluster each replica has what was written before anybody goes on. A step that
is done again tells of nothing twice.
"""

import dataclasses
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, NamedTuple

from infertap.query import Query
from storage.archive.clickhouse_arrivals import Arrivals, of_records
from storage.archive.clickhouse_conditions import Conditions
from storage.archive.clickhouse_connection import Connection
from storage.archive.clickhouse_tables import REQUESTS, TOMBSTONES, beneath, place_of
from storage.archive.clickhouse_writing import Writing, deletion_statement
from storage.archive.interface import ArchiveError, CountRemoved, Interrupt
from storage.archive.ranges import Range, RangeSet
from storage.archive.removals import BY_REQUEST, Deletion, Matched, Usage
from storage.audit import Deleted

# Records that one step deletes: their keys fit into a statement.
STEP_RECORDS: Final = 1_500
_STEP_FEEDBACK: Final = 500
# Where a killed storage left off is among so many of the latest steps: others may have deleted since.
_LATEST_STEPS: Final = 8
# Deleted records that are told of at once; whoever hears not of all of them does when it connects again.
_MOST_TOLD: Final = 500_000
_MUTATION_SECONDS: Final = 600
_POLL_SECONDS: Final = 0.05
# The columns of a Row.
ROW: Final = "tenant, spool_id, sequence, previous_hash, hash, start_ns, record_bytes"
# All segments of the calls that match, wherever they begin.
_MATCHING: Final = f"""
SELECT {ROW} FROM {{database}}.records
WHERE {{of_all}} AND (tenant, spool_id, start_ns, call_id) IN (
    SELECT tenant, spool_id, start_ns, call_id FROM {{database}}.records
    WHERE {{where}} LIMIT 1 BY spool_id, sequence LIMIT {{most:d}})
LIMIT 1 BY spool_id, sequence
"""
# Tombstones with their records beside them, among the latest tombstones of requests.
_LEFT: Final = f"""
SELECT {ROW} FROM {{database}}.records
WHERE ({{{{tenant:Nullable(String)}}}} IS NULL OR tenant = {{{{tenant:Nullable(String)}}}})
    AND {place_of("sequence")} IN (SELECT {place_of("sequence")} FROM ({{latest}}))
    AND (tenant, spool_id, sequence) IN ({{latest}})
LIMIT 1 BY spool_id, sequence LIMIT {{most:d}}
"""
_LATEST: Final = """
SELECT tenant, spool_id, sequence FROM {database}.tombstones WHERE reason = '{reason}'
ORDER BY deleted_ns DESC LIMIT {most:d}
"""
_MATCHED: Final = """
SELECT count(), sum(record_bytes) FROM {database}.records FINAL
WHERE {of_all} AND (tenant, spool_id, start_ns, call_id) IN (
    SELECT tenant, spool_id, start_ns, call_id FROM {database}.records WHERE {where})
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
_DELETED_SINCE: Final = """
SELECT spool_id, sequence FROM {database}.tombstones
WHERE deleted_ns >= {{since:Int64}} AND reason = {{reason:String}}
    AND spool_id IN (SELECT toFixedString(unhex(arrayJoin({{spools:Array(String)}})), 16))
LIMIT {{most:UInt32}}
"""
_WAITING: Final = """
SELECT count(), countIf(latest_fail_reason <> '') FROM {mutations}
WHERE database = '{database}' AND table IN ('records', 'records_local') AND NOT is_done
"""
_MASKED: Final = """
SELECT count() FROM {parts}
WHERE database = '{database}' AND table IN ('records', 'records_local') AND active AND has_lightweight_delete
"""
_USAGE: Final = "SELECT sum(bytes_on_disk), count() FROM {parts} WHERE database = '{database}' AND active"


class Row(NamedTuple):
    """A record that is to go; but for its start as a tombstone begins."""

    tenant: str
    spool_id: bytes
    sequence: int
    previous_hash: bytes
    hash: bytes
    start_ns: int
    record_bytes: int


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

    # -- by request

    def matched(self, query: Query, interrupt: Interrupt) -> Matched:
        """See Archive."""
        _check(query)
        where = Conditions(self._database)
        where.of_all(query)
        of_all = str(where)
        where.of_row(query)
        statement = _MATCHED.format(database=self._database, of_all=of_all, where=where)
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
        self._sync("requests")
        self._sync("records")
        records = feedback = 0
        spools: dict[bytes, RangeSet] = {}
        # Each step's tombstones are told by their time: others look for what was deleted lately.
        step_ns, began = now_ns, time.monotonic_ns()
        for rows in self._steps(query, interrupt):
            feedback += self.delete_rows(rows, reason, step_ns)
            records += len(rows)
            for row in rows:
                spools.setdefault(row.spool_id, RangeSet()).add(row.sequence, row.sequence)
            step_ns = max(step_ns + 1, now_ns + time.monotonic_ns() - began)
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

    def deleted_since(self, since_ns: int, spool_ids: Collection[bytes]) -> dict[bytes, list[Range]]:
        """See SharedArchive."""
        if not spool_ids:
            return {}
        values = {
            "since": since_ns,
            "reason": BY_REQUEST,
            "spools": sorted(each.hex() for each in spool_ids),
            "most": _MOST_TOLD,
        }
        found: dict[bytes, RangeSet] = {}
        for spool_id, sequence in self._connection.rows(
            _DELETED_SINCE.format(database=self._database), values
        ):
            found.setdefault(spool_id, RangeSet()).add(sequence, sequence)
        return {spool_id: list(ranges) for spool_id, ranges in found.items()}

    def _steps(self, query: Query, interrupt: Interrupt) -> Iterator[list[Row]]:
        """What is to go, each time that what was told before has gone."""
        if query.feedback is not None:
            # Of the last step of a storage that was killed the feedback may be gone, by which nobody would
            # find its records any more.
            while rows := self._left_undone(query.tenant, interrupt):
                yield rows
        while rows := self._matching(query, interrupt):
            yield rows

    def _left_undone(self, tenant: str | None, interrupt: Interrupt) -> list[Row]:
        latest = _LATEST.format(database=self._database, reason=BY_REQUEST, most=_LATEST_STEPS * STEP_RECORDS)
        statement = _LEFT.format(database=self._database, latest=latest, most=STEP_RECORDS)
        return [Row(*row) for row in self._connection.rows(statement, {"tenant": tenant}, interrupt)]

    def _matching(self, query: Query, interrupt: Interrupt) -> list[Row]:
        where = Conditions(self._database)
        where.of_all(query)
        of_all = str(where)
        where.of_row(query)
        statement = _MATCHING.format(database=self._database, of_all=of_all, where=where, most=STEP_RECORDS)
        return [Row(*row) for row in self._connection.rows(statement, where.values, interrupt)]

    def delete_rows(self, rows: Sequence[Row], reason: str, now_ns: int) -> int:
        """Delete these records, and on request their feedback; returns how much feedback."""
        # Of a step that failed before, the leaves and tombstones are there.
        told = self._writing.buried({row[1:3] for row in rows})
        fresh = [row for row in rows if row[1:3] not in told]
        deleted = [Deleted(row.tenant, row.spool_id, row.sequence, row.hash, reason) for row in fresh]
        self._writing.tell_deleted(deleted, now_ns)
        self._connection.insert("tombstones", TOMBSTONES, [(*row[:5], reason, now_ns) for row in rows])
        self._sync("tombstones")
        starts = [row.start_ns for row in rows]
        first, last = min(starts), max(starts)
        self.tell_removal(of_records(self._database, [row[1:3] for row in rows], first, last))
        feedback = self._delete_feedback(now_ns, first, last) if reason == BY_REQUEST else 0
        keys = [(row.spool_id, row.sequence) for row in rows]
        self._connection.command(deletion_statement(self.beneath("records"), keys, first, last))
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
                f"ALTER TABLE {self.beneath('feedback')} "
                f"DELETE WHERE (tenant, subject, feedback_id) IN ({keys})",
                settings={"mutations_sync": 2},
            )
        return len(rows)

    def _rewrite(self) -> None:
        """Have the parts rewritten without what was deleted, and wait for it. Raises ArchiveError."""
        if not self.begin_rewriting():
            return
        mutations = self.system("mutations")
        statement = _WAITING.format(database=self._database, mutations=mutations)
        ends = time.monotonic() + _MUTATION_SECONDS
        while True:
            [(waiting, failed)] = self._connection.rows(statement)
            if not waiting:
                return
            if failed or time.monotonic() > ends:
                raise ArchiveError("deleted, but ClickHouse has not yet rewritten the parts that held it")
            time.sleep(_POLL_SECONDS)

    def begin_rewriting(self) -> bool:
        """Have parts rewritten that hold what was deleted; whether there are any."""
        masked = _MASKED.format(database=self._database, parts=self.system("parts"))
        if not self._connection.rows(masked)[0][0]:
            return False
        self._connection.command(f"ALTER TABLE {self.beneath('records')} APPLY DELETED MASK")
        return True

    def tell_removal(self, going: Conditions) -> None:
        self.before_removal(lambda after, query: self._arrivals.count_removed(going, after, query))

    # -- what there is

    def usage(self) -> Usage:
        """See Archive."""
        statement = _USAGE.format(database=self._database, parts=self.system("parts"))
        [(disk_bytes, files)] = self._connection.rows(statement)
        return Usage(disk_bytes, files, 0)

    def _sync(self, table: str) -> None:
        """On a cluster: return once each replica has what was written, whoever wrote it. Raises ArchiveError,
        also where a replica is away: what it lacks may be what is to be deleted.
        """
        if self._cluster:
            name, _, on_cluster = self.beneath(table).partition(" ")
            self._connection.command(f"SYSTEM SYNC REPLICA {on_cluster} {name} LIGHTWEIGHT")

    def beneath(self, table: str) -> str:
        """What it is called where it is altered, and on which servers."""
        return f"{self._database}.{beneath(table, self._cluster)}"

    def system(self, table: str) -> str:
        """A system table, of every server of the cluster."""
        return (
            f"clusterAllReplicas('{self._cluster}', system.{table})" if self._cluster else f"system.{table}"
        )


def _check(query: Query) -> None:
    """What is deleted is what columns say: raises ArchiveError for a text."""
    if query.text or dataclasses.replace(query, text="") == Query(tenant=query.tenant):
        raise ArchiveError("deleting needs a filter, and one without a text")
