"""Writing: entries into the DuckDB engine, each once. Touches the file that is written to.

A batch is one transaction in one file: its records, the ranges that they cover, the leaves of the audit's
logs, tombstones of what nobody may keep. So no crash parts a record from its range, and what has been
received is the union over all files and what is kept of those that are gone.
"""

import datetime
import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import duckdb

from infertap.verification import LogId
from storage.archive.columns import record_columns
from storage.archive.duckdb_files import said
from storage.archive.duckdb_inserting import insert_columns, insert_rows
from storage.archive.duckdb_kept import Kept, Received
from storage.archive.duckdb_packing import packed
from storage.archive.duckdb_parts import Part, Parts
from storage.archive.duckdb_schema import TABLES
from storage.archive.duckdb_transactions import transaction
from storage.archive.entries import Entry, GapEntry, RecordEntry
from storage.archive.interface import ArchiveError
from storage.archive.ranges import Range, RangeSet
from storage.archive.removals import BY_REQUEST
from storage.audit import Deleted, TreeLogs

_DAY_NS: Final = 86_400_000_000_000
_START: Final = list(TABLES["records"]).index("start_ns")


class _Logs:
    """What this run logs in one file, where a log lies wholly: what came, and what was deleted anywhere."""

    def __init__(self) -> None:
        self.entries = TreeLogs(secrets.token_hex(8))
        self.deletions = TreeLogs(secrets.token_hex(8))


class Writing:
    """Takes entries. Safe from any thread; one batch at a time."""

    def __init__(self, connection: "duckdb.DuckDBPyConnection", parts: Parts, kept: Kept) -> None:
        self._engine = connection
        self._connection = connection.cursor()
        self._parts = parts
        self._kept = kept
        self._lock = threading.Lock()
        self._spools: dict[bytes, Received] = {}
        # When what this run committed last was stored: whatever is committed later is stored later.
        self.last_ns = 0
        # Of the files that this run has written to.
        self._logs: dict[Part, _Logs] = {}

    def close(self) -> None:
        """Let the engine go, after the batch under way."""
        with self._lock:
            self._connection.close()

    # -- received

    def received(self, spool_id: bytes) -> list[Range]:
        """See Archive."""
        with self._lock:
            known = self._spools.get(spool_id)
            return list(known.all) if known else []

    def recall(self) -> None:
        """Read again what has been received, from all files. Raises duckdb.Error."""
        with self._lock:
            self._spools = self._recalled()

    def _recalled(self) -> dict[bytes, Received]:
        spools: dict[bytes, Received] = {}
        for spool_id, first, last, is_gap in self._kept.received():
            spools.setdefault(spool_id, Received()).add(first, last, is_gap)
        for part in self._parts.all:
            for spool_id, known in self.received_in(part).items():
                whole = spools.setdefault(spool_id, Received())
                for row in known.rows():
                    whole.add(*row)
        for spool_id, ranges in self._kept.all_forgotten().items():
            for first, last in ranges:
                spools.setdefault(spool_id, Received()).add(first, last, False)
        return spools

    def received_in(self, part: Part) -> Mapping[bytes, Received]:
        """What one file says that it has received. Raises duckdb.Error."""
        spools: dict[bytes, Received] = {}
        with self._connection.cursor() as cursor:
            found = cursor.execute(
                f"SELECT spool_id, first, last, is_gap FROM {part.name}.received ORDER BY spool_id, first"  # noqa: S608
            ).fetchall()
        for spool_id, first, last, is_gap in found:
            spools.setdefault(bytes(spool_id), Received()).add(first, last, is_gap)
        return spools

    # -- appending

    def append(self, entries: Sequence[Entry], stored_ns: int) -> list[RecordEntry]:
        """See Archive."""
        with self._lock:
            fresh = self._fresh(entries)
            if not fresh:
                return []
            dead = self._unwanted(fresh)
            try:
                self._insert(fresh, dead, stored_ns)
                self.last_ns = max(self.last_ns, stored_ns)
                for entry in fresh:
                    received = self._spools.setdefault(entry.spool_id, Received())
                    received.add(entry.first, entry.last, isinstance(entry, GapEntry))
                if dead:
                    self._kept.forget(_ranges_of(dead.values()))
            except duckdb.Error as error:
                self._begin_anew()
                raise ArchiveError(said(error)) from None
            except OSError as error:
                raise ArchiveError(error.strerror or type(error).__name__) from None
        return [entry for entry in fresh if isinstance(entry, RecordEntry) and _key(entry) not in dead]

    def _begin_anew(self) -> None:
        """Whatever the engine was in the middle of."""
        self._connection.close()
        self._connection = self._engine.cursor()

    def _fresh(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those that are not here yet, each once."""
        fresh: list[Entry] = []
        taken: set[tuple[bytes, int]] = set()
        for entry in entries:
            known = self._spools.get(entry.spool_id)
            key = _key(entry)
            if isinstance(entry, GapEntry):
                if known is None or not known.all.covers(entry.first, entry.last):
                    fresh.append(entry)
            elif key not in taken and (known is None or entry.sequence not in known.records):
                taken.add(key)
                fresh.append(entry)
        return fresh

    def _unwanted(self, fresh: Sequence[Entry]) -> dict[tuple[bytes, int], RecordEntry]:
        """Records that came after the request that they be deleted."""
        if not self._kept.has_requests:
            return {}
        return {
            _key(entry): entry
            for entry in fresh
            if isinstance(entry, RecordEntry)
            and self._kept.is_unwanted(
                entry.tenant, entry.parsed.caller.user, entry.parsed.timing.start.ToNanoseconds()
            )
        }

    def _insert(
        self, fresh: Sequence[Entry], dead: Mapping[tuple[bytes, int], RecordEntry], stored_ns: int
    ) -> None:
        day = day_of(stored_ns)
        part = self._parts.filling(day)
        logs = self._logs_of(part)
        grown = logs.entries.extend(fresh, day)
        buried = logs.deletions.extend_deletions(map(_deleted, dead.values()), day)
        alive = [each for each in fresh if isinstance(each, RecordEntry) and _key(each) not in dead]
        columns = _columns(alive, stored_ns)
        if alive:
            self._parts.extents.widen(part.name, columns[_START])
        with transaction(self._connection):
            if alive:
                insert_columns(self._connection, f"{part.name}.records", TABLES["records"], columns)
            self._put(part, "received", _ranges(fresh, stored_ns))
            self._put(part, "leaves", [*grown.rows, *buried.rows])
            self._put(part, "tombstones", [_tombstone(each, stored_ns) for each in dead.values()])
        grown.keep()
        buried.keep()

    def log_deletions(self, deleted: Sequence[Deleted], now_ns: int) -> None:
        """Tell in the audit's logs of today that these are about to be deleted; durable on return. Raises
        duckdb.Error and OSError.
        """
        with self._lock:
            day = day_of(now_ns)
            part = self._parts.filling(day)
            buried = self._logs_of(part).deletions.extend_deletions(deleted, day)
            with transaction(self._connection):
                self._put(part, "leaves", buried.rows)
            buried.keep()

    def retire(self, part: Part) -> None:
        """Never write to that file again; on return all that it has is in it. Raises ArchiveError."""
        with self._lock:
            self._parts.stop_filling(part)
        self._parts.settle(part)

    def give_up(self, part: Part) -> None:
        """Never write to that file again, whatever it has."""
        with self._lock:
            self._parts.stop_filling(part)

    # -- the audit's logs

    def heads(self) -> dict[LogId, tuple[int, bytes]]:
        """Size and root of each log that this run writes."""
        found: dict[LogId, tuple[int, bytes]] = {}
        for logs in list(self._logs.values()):
            found |= logs.entries.heads() | logs.deletions.heads()
        return found

    def follow(self, part: Part, by: Part | None) -> None:
        """A file has given way to another, or to none: its logs are there now."""
        with self._lock:
            logs = self._logs.pop(part, None)
            if logs is not None and by is not None:
                self._logs[by] = logs

    def _logs_of(self, part: Part) -> "_Logs":
        return self._logs.setdefault(part, _Logs())

    def _put(self, part: Part, table: str, rows: Sequence[Sequence[Any]]) -> None:
        insert_rows(self._connection, f"{part.name}.{table}", TABLES[table], rows)


def day_of(stored_ns: int) -> str:
    """The day (UTC) of a time: "2026-11-21"."""
    day = datetime.date(1970, 1, 1) + datetime.timedelta(days=stored_ns // _DAY_NS)
    return day.isoformat()


def _columns(entries: Sequence[RecordEntry], stored_ns: int) -> list[list[Any]]:
    """The columns of `records`: as all engines have them, but the last, which is packed."""
    columns: list[list[Any]] = record_columns(entries, stored_ns)[:-1]
    return [*columns, packed(entry.record for entry in entries)]


def _key(entry: Entry) -> tuple[bytes, int]:
    return entry.spool_id, entry.first


def _deleted(entry: RecordEntry) -> Deleted:
    return Deleted(entry.tenant, entry.spool_id, entry.sequence, entry.hash, BY_REQUEST)


def _tombstone(entry: RecordEntry, deleted_ns: int) -> tuple[Any, ...]:
    kept = (entry.tenant, entry.spool_id, entry.sequence, entry.previous_hash, entry.hash)
    return (*kept, BY_REQUEST, deleted_ns)


def _ranges_of(entries: Iterable[RecordEntry]) -> dict[bytes, RangeSet]:
    spools: dict[bytes, RangeSet] = {}
    for entry in entries:
        spools.setdefault(entry.spool_id, RangeSet()).add(entry.sequence, entry.sequence)
    return spools


def _ranges(fresh: Sequence[Entry], stored_ns: int) -> list[tuple[Any, ...]]:
    """Rows of `received`: records of one tenant that follow each other share one."""
    rows: list[tuple[Any, ...]] = []
    spools: dict[tuple[bytes, str], RangeSet] = {}
    for each in fresh:
        if isinstance(each, GapEntry):
            told = (True, each.reason, each.last_hash, stored_ns, each.tenant)
            rows.append((each.spool_id, each.first, each.last, *told))
        else:
            spools.setdefault((each.spool_id, each.tenant), RangeSet()).add(each.sequence, each.sequence)
    for (spool_id, tenant), ranges in spools.items():
        rows += [(spool_id, first, last, False, None, None, stored_ns, tenant) for first, last in ranges]
    return rows
