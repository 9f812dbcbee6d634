"""Writing in the ClickHouse engine: appending, and what has been received.

There are no transactions over several tables. A batch is therefore written in an order in which a crash, an
answer that is lost, or another storage that writes the same batch at the same time leave nothing wrong
behind:

    records      first; a row that is inserted twice is one row (see clickhouse_tables)
    leaves       then, so that nothing is acknowledged that the audit doesn't know
    tombstones   of records that a person's request has deleted already
    received     last: what is here is never asked for again, so all else must be durable before it

What was inserted but never acknowledged is sent again, found in no range, and inserted once more. This room
holds no state between batches but the audit's trees: what is known of a spool is read each time.
"""

import datetime
import secrets
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from infertap.verification import LogId
from storage.archive.clickhouse_connection import Connection
from storage.archive.clickhouse_tables import LEAVES, RECEIVED, RECORDS, TOMBSTONES, beneath
from storage.archive.columns import record_rows
from storage.archive.entries import Entry, GapEntry, RecordEntry
from storage.archive.ranges import Range, RangeSet
from storage.archive.removals import BY_REQUEST
from storage.audit import Deleted, TreeLogs

_DAY_NS: Final = 86_400_000_000_000
# See clickhouse_arrivals: less than what is held back there.
LONG_INSERT_NS: Final = 10_000_000_000
# Rows of one spool in `received` beyond which they are put together, and into how many ranges at most.
_MOST_ROWS: Final = 256
_MOST_WHOLE: Final = 1000
# Gaps and islands: a range begins an island where it neither overlaps nor touches what is before it. No two
# have one beginning, else it would be chance which of them the two windows see first.
_RECEIVED: Final = """
SELECT min(first), max(last) FROM (
    SELECT first, last, sum(begins) OVER (ORDER BY first ROWS UNBOUNDED PRECEDING) AS island FROM (
        SELECT first, last, first > 1 + max(last) OVER (
            ORDER BY first ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS begins
        FROM (SELECT first, max(last) AS last FROM {database}.received
            WHERE spool_id = toFixedString(unhex({{spool:String}}), 16) AND is_gap <= {{gaps:UInt8}}
            GROUP BY first)))
GROUP BY island ORDER BY 1
"""
_OVERLAPPING: Final = """
SELECT spool_id, is_gap, first, last FROM {database}.received
WHERE spool_id IN (SELECT toFixedString(unhex(arrayJoin({{spools:Array(String)}})), 16))
    AND last >= {{first:UInt64}} AND first <= {{last:UInt64}}
"""
_SCATTERED: Final = """
SELECT spool_id FROM {database}.received WHERE NOT is_gap
GROUP BY spool_id HAVING count() > {{most:UInt32}} ORDER BY count() DESC LIMIT 100
"""
# Not a range itself, nor what reaches beyond it.
_COVERED: Final = """
DELETE FROM {table} WHERE spool_id = toFixedString(unhex('{spool}'), 16) AND NOT is_gap
    AND arrayExists(range -> first >= range.1 AND last <= range.2 AND (first, last) <> range, [{ranges}])
"""
_BURIED: Final = """
SELECT spool_id, sequence FROM {database}.tombstones
WHERE spool_id IN (SELECT toFixedString(unhex(arrayJoin({{spools:Array(String)}})), 16))
    AND sequence >= {{first:UInt64}} AND sequence <= {{last:UInt64}}
"""
_REQUESTED: Final = """
SELECT caller, tenant, is_everyone, before_ns FROM {database}.requests
WHERE caller IN {{callers:Array(String)}}
"""
_HERE: Final = """
SELECT count() FROM {database}.records
WHERE start_ns >= {{first:Int64}} AND start_ns <= {{last:Int64}} AND (spool_id, sequence) IN (
    SELECT toFixedString(unhex(key.1), 16), key.2
    FROM (SELECT arrayJoin({{keys:Array(Tuple(String, UInt64))}}) AS key))
"""
_DELETE: Final = """
DELETE FROM {table} WHERE (spool_id, sequence) IN ({keys}) AND start_ns >= {first} AND start_ns <= {last}
"""


@dataclass(frozen=True, slots=True)
class _Span:
    """Which spools a batch is of, and from which sequence to which."""

    spools: list[str]
    first: int
    last: int

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> "_Span":
        return cls(
            sorted({entry.spool_id.hex() for entry in entries}),
            min(entry.first for entry in entries),
            max(entry.last for entry in entries),
        )

    @property
    def values(self) -> dict[str, Any]:
        return {"spools": self.spools, "first": self.first, "last": self.last}


class Writing:
    """Takes batches. Safe from any thread, and beside any number of processes that do the same."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._database = connection.location.database
        self._cluster = connection.location.cluster
        self._writing = threading.Lock()
        self._logs = _new_logs()
        self._earlier: dict[LogId, tuple[int, bytes]] = {}

    def heads(self) -> dict[LogId, tuple[int, bytes]]:
        """Size and root of each log that this process has written."""
        return {**self._earlier, **self._logs.heads()}

    def _begin_new_logs(self) -> None:
        """Whether the last leaves are there is not known: nobody goes on behind them."""
        self._earlier = self.heads()
        self._logs = _new_logs()

    def received(self, spool_id: bytes) -> list[Range]:
        """See Archive."""
        statement = _RECEIVED.format(database=self._database)
        rows = self._connection.rows(statement, {"spool": spool_id.hex(), "gaps": 1})
        return [(first, last) for first, last in rows]

    def append(self, entries: Sequence[Entry], stored_ns: int) -> list[RecordEntry]:
        """See Archive. What of a batch that failed is seen nevertheless is seen once."""
        with self._writing:
            fresh = self._fresh(entries)
            if not fresh:
                return []
            records = [entry for entry in fresh if isinstance(entry, RecordEntry)]
            forgotten = self._of_forgotten_users(records)
            kept = [entry for entry in records if _key(entry) not in forgotten]
            try:
                self._insert_records(kept, stored_ns)
                self._insert_leaves(fresh, [e for e in records if _key(e) in forgotten], stored_ns)
                buried = self._deleted_meanwhile(kept, stored_ns)
                self._connection.insert("received", RECEIVED, _ranges(fresh, stored_ns))
            except BaseException:
                self._begin_new_logs()
                raise
        return [entry for entry in kept if _key(entry) not in buried]

    def tell_deleted(self, deleted: Iterable[Deleted], now_ns: int) -> None:
        """Write the leaves that tell of deletions."""
        with self._writing:
            extension = self._logs.extend_deletions(deleted, day_of(now_ns))
            try:
                self._connection.insert("leaves", LEAVES, [(day_of(now_ns), *row) for row in extension.rows])
            except BaseException:
                self._begin_new_logs()
                raise
            extension.keep()

    # -- which are new

    def _fresh(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those that are not here yet, each once."""
        if not entries:
            return []
        records: dict[bytes, RangeSet] = {}
        everything: dict[bytes, RangeSet] = {}
        statement = _OVERLAPPING.format(database=self._database)
        for spool_id, is_gap, first, last in self._connection.rows(statement, _Span.of(entries).values):
            everything.setdefault(spool_id, RangeSet()).add(first, last)
            if not is_gap:
                records.setdefault(spool_id, RangeSet()).add(first, last)
        fresh: list[Entry] = []
        for entry in entries:
            is_gap = isinstance(entry, GapEntry)
            known = (everything if is_gap else records).setdefault(entry.spool_id, RangeSet())
            if not known.covers(entry.first, entry.last):
                fresh.append(entry)
                if not is_gap:
                    known.add(entry.first, entry.last)
        return fresh

    # -- what is written

    def _insert_records(self, kept: Sequence[RecordEntry], stored_ns: int) -> None:
        began = time.monotonic_ns()
        self._connection.insert("records", RECORDS, record_rows(kept, stored_ns))
        took_ns = time.monotonic_ns() - began
        if took_ns > LONG_INSERT_NS:
            # Whoever reads in order of storing has read beyond that time: once more, with the time of now.
            self._connection.insert("records", RECORDS, record_rows(kept, stored_ns + took_ns))

    def _insert_leaves(
        self, fresh: Sequence[Entry], forgotten: Sequence[RecordEntry], stored_ns: int
    ) -> None:
        day = day_of(stored_ns)
        extension = self._logs.extend(fresh, day)
        self._connection.insert("leaves", LEAVES, [(day, *row) for row in extension.rows])
        extension.keep()
        self._bury(forgotten, stored_ns)
        self._delete_if_here(forgotten)

    def _bury(self, records: Sequence[RecordEntry], stored_ns: int) -> None:
        """Leaves and tombstones instead of records that came although their user had them deleted."""
        if not records:
            return
        day = day_of(stored_ns)
        extension = self._logs.extend_deletions(
            [Deleted(e.tenant, e.spool_id, e.sequence, e.hash, BY_REQUEST) for e in records], day
        )
        self._connection.insert("leaves", LEAVES, [(day, *row) for row in extension.rows])
        extension.keep()
        rows = [
            (each.tenant, each.spool_id, each.sequence, each.previous_hash, each.hash, BY_REQUEST, stored_ns)
            for each in records
        ]
        self._connection.insert("tombstones", TOMBSTONES, rows)

    # -- deletion

    def _of_forgotten_users(self, records: Sequence[RecordEntry]) -> set[tuple[bytes, int]]:
        """Which of the records are of a user who had them deleted, after they began."""
        callers = sorted({entry.parsed.caller.user for entry in records} - {""})
        if not callers:
            return set()
        before = self.forgotten_users(callers)
        return {_key(entry) for entry in records if before and _is_before(entry, before)}

    def _deleted_meanwhile(self, kept: Sequence[RecordEntry], stored_ns: int) -> set[tuple[bytes, int]]:
        """Who deletes writes what is to go first, and looks for records then. So whatever was written here
        while someone deleted is found there, or its end is found here.
        """
        if not kept:
            return set()
        forgotten = self._of_forgotten_users(kept)
        self._bury([entry for entry in kept if _key(entry) in forgotten], stored_ns)
        buried = self.buried({_key(entry) for entry in kept})
        if buried:
            self._delete(kept, buried)
        return buried

    def _delete_if_here(self, entries: Sequence[RecordEntry]) -> None:
        """Who was killed after it inserted these may have left them behind."""
        if not entries:
            return
        keys = [(entry.spool_id.hex(), entry.sequence) for entry in entries]
        first, last = _starts(entries)
        values = {"keys": keys, "first": first, "last": last}
        if self._connection.rows(_HERE.format(database=self._database), values)[0][0]:
            self._delete(entries, {_key(entry) for entry in entries})

    def _delete(self, entries: Sequence[RecordEntry], keys: Iterable[tuple[bytes, int]]) -> None:
        table = f"{self._database}.{beneath('records', self._cluster)}"
        self._connection.command(deletion_statement(table, keys, *_starts(entries)))

    def buried(self, keys: set[tuple[bytes, int]]) -> set[tuple[bytes, int]]:
        """Those (spool id, sequence) of which there are tombstones."""
        values = {
            "spools": sorted({spool_id.hex() for spool_id, _ in keys}),
            "first": min(sequence for _, sequence in keys),
            "last": max(sequence for _, sequence in keys),
        }
        rows = self._connection.rows(_BURIED.format(database=self._database), values)
        return {(spool_id, sequence) for spool_id, sequence in rows} & keys

    def forgotten_users(self, callers: Sequence[str]) -> dict[tuple[str, str | None], int]:
        """Of these the users whose records were deleted on request: by (user, tenant, None for every), what
        began before when.
        """
        statement = _REQUESTED.format(database=self._database)
        before: dict[tuple[str, str | None], int] = {}
        for caller, tenant, is_everyone, before_ns in self._connection.rows(statement, {"callers": callers}):
            key = (caller, None if is_everyone else tenant)
            before[key] = max(before.get(key, 0), before_ns)
        return before

    # -- ranges

    def compact(self, now_ns: int) -> None:
        """Put the ranges of spools with many rows together. It may be left off anywhere, and run in several
        places at once: what is deleted is covered by what is there already.
        """
        statement = _SCATTERED.format(database=self._database)
        for (spool_id,) in self._connection.rows(statement, {"most": _MOST_ROWS}):
            self._compact(spool_id, now_ns)

    def _compact(self, spool_id: bytes, now_ns: int) -> None:
        values = {"spool": spool_id.hex(), "gaps": 0}
        whole = self._connection.rows(_RECEIVED.format(database=self._database), values)
        # The longest: what is left makes few rows.
        whole = sorted(whole, key=lambda each: each[0] - each[1])[:_MOST_WHOLE]
        rows = [(spool_id, False, first, last, "", b"", "", now_ns) for first, last in whole]
        self._connection.insert("received", RECEIVED, rows)
        table = f"{self._database}.{beneath('received', self._cluster)}"
        ranges = ", ".join(f"({first}, {last})" for first, last in whole)
        self._connection.command(_COVERED.format(table=table, spool=spool_id.hex(), ranges=ranges))


def day_of(stored_ns: int) -> str:
    """The ingest day, in UTC: "2026-11-21"."""
    day = datetime.date(1970, 1, 1) + datetime.timedelta(days=stored_ns // _DAY_NS)
    return day.isoformat()


def deletion_statement(table: str, keys: Iterable[tuple[bytes, int]], first_ns: int, last_ns: int) -> str:
    """Deletes records by (spool id, sequence), which started between two times. The keys are written out:
    each replica runs it by itself, and must not find another answer to a question.
    """
    written = ", ".join(
        f"(toFixedString(unhex('{spool_id.hex()}'), 16), {sequence:d})" for spool_id, sequence in keys
    )
    return _DELETE.format(table=table, keys=written, first=first_ns, last=last_ns)


def _new_logs() -> TreeLogs:
    return TreeLogs(secrets.token_hex(8))


def _key(entry: RecordEntry) -> tuple[bytes, int]:
    return (entry.spool_id, entry.sequence)


def _starts(entries: Sequence[RecordEntry]) -> tuple[int, int]:
    """When the first of them started, and the last."""
    starts = [entry.parsed.timing.start.ToNanoseconds() for entry in entries]
    return min(starts), max(starts)


def _is_before(entry: RecordEntry, before: Mapping[tuple[str, str | None], int]) -> bool:
    start_ns = entry.parsed.timing.start.ToNanoseconds()
    return is_forgotten(entry.parsed.caller.user, entry.tenant, start_ns, before)


def is_forgotten(
    caller: str, tenant: str, start_ns: int, before: Mapping[tuple[str, str | None], int]
) -> bool:
    """Whether a record is of a user who had such deleted; see Writing.forgotten_users."""
    return start_ns < max(before.get((caller, None), 0), before.get((caller, tenant), 0))


def _ranges(fresh: Sequence[Entry], stored_ns: int) -> list[tuple[Any, ...]]:
    """Rows of `received`: records that follow each other share one."""
    rows: list[tuple[Any, ...]] = []
    spools: dict[tuple[bytes, str], RangeSet] = {}
    for entry in fresh:
        if isinstance(entry, GapEntry):
            end = (entry.reason, entry.last_hash, entry.tenant, stored_ns)
            rows.append((entry.spool_id, True, entry.first, entry.last, *end))
        else:
            ranges = spools.setdefault((entry.spool_id, entry.tenant), RangeSet())
            ranges.add(entry.sequence, entry.sequence)
    for (spool_id, tenant), ranges in spools.items():
        rows += [(spool_id, False, first, last, "", b"", tenant, stored_ns) for first, last in ranges]
    return rows
