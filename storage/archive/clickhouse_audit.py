"""Audit in the ClickHouse engine: the leaves that stand beside records, and what is said of them.

Reads the tables that clickhouse_writing and clickhouse_removing write; `audit` is this room's own. A log is
of one process's run and day; its part, in the audit's words, is that day. What two storages inserted at once
is read once.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from infertap.verification import DELETION, RECORD, Envelope, Leaf, LoggedEntry, LogId, Tombstone
from storage.archive.clickhouse_connection import Connection
from storage.archive.clickhouse_tables import AUDIT, PLACE_SEQUENCES, place_of
from storage.audit import LogSize, Place

_BEYOND: Final = b"\xff" * 33
_NOTES: Final = """
SELECT hex(key), value FROM {database}.audit FINAL
WHERE kind = {{kind:String}} AND key {sign} unhex({{key:String}}) AND value <> ''
ORDER BY key {direction} LIMIT {{most:UInt32}}
"""
_LOGS: Final = """
SELECT tenant, day, log, max(leaf_index) + 1 FROM {database}.leaves
GROUP BY tenant, day, log ORDER BY day, tenant, log
"""
_LEAF: Final = "kind, spool_id, first, last, hash, reason"
_LEAVES: Final = f"""
SELECT leaf_index, {_LEAF} FROM {{database}}.leaves FINAL
WHERE day = {{{{day:String}}}} AND tenant = {{{{tenant:String}}}} AND log = {{{{log:String}}}}
    AND leaf_index >= {{{{first:UInt64}}}} ORDER BY leaf_index LIMIT {{{{most:UInt32}}}}
"""
_PLACES: Final = f"""
SELECT tenant, day, log, leaf_index, {_LEAF} FROM {{database}}.leaves FINAL
WHERE spool_id = toFixedString(unhex({{{{spool:String}}}}), 16)
    AND first <= {{{{at:UInt64}}}} AND last >= {{{{at:UInt64}}}}
"""
_HASHES: Final = """
SELECT last, hash FROM {database}.leaves
WHERE spool_id = toFixedString(unhex({{spool:String}}), 16) AND kind <> {deletion}
    AND last BETWEEN {{first:UInt64}} AND {{last:UInt64}} {places}
"""
# What the index finds leaves by; where there are too many places the index is no help.
_PLACES_OF: Final = f"""
AND {place_of("last")} IN (SELECT sipHash64(toFixedString(unhex({{spool:String}}), 16), arrayJoin(
    range(intDiv({{first:UInt64}}, {PLACE_SEQUENCES}), intDiv({{last:UInt64}}, {PLACE_SEQUENCES}) + 1))))
"""
_MOST_PLACES: Final = 64
_KEYS: Final = """SELECT arrayJoin(arrayMap(
    key -> (toFixedString(unhex(key.1), 16), key.2), {{keys:Array(Tuple(String, UInt64))}})) AS key"""
# Of the tenant whose log tells of them: a row that is another's by now is not what was logged.
_SPAN: Final = f"""
(spool_id, sequence) IN (SELECT key.1, key.2 FROM ({_KEYS})) AND tenant = {{{{tenant:String}}}}
LIMIT 1 BY spool_id, sequence
"""
_RECORDS: Final = f"""
SELECT spool_id, sequence, previous_hash, salt, record FROM {{database}}.records
WHERE {place_of("sequence")} IN (
    SELECT sipHash64(key.1, intDiv(key.2, {PLACE_SEQUENCES})) FROM ({_KEYS})) AND {_SPAN}
"""
_TOMBSTONES: Final = (
    f"SELECT spool_id, sequence, previous_hash, reason, deleted_ns FROM {{database}}.tombstones WHERE {_SPAN}"
)
# Leaves follow their records within one append, so what was stored just now proves nothing.
_UNLOGGED: Final = """
SELECT tenant, spool_id, sequence, hash, previous_hash, salt, record, stored_ns FROM {database}.records FINAL
WHERE (spool_id, sequence) > (toFixedString(unhex({{spool:String}}), 16), {{sequence:UInt64}})
    AND (spool_id, sequence) <= (toFixedString(unhex({{end_spool:String}}), 16), {{end:UInt64}})
    AND (tenant, spool_id, sequence) NOT IN (
        SELECT tenant, spool_id, first FROM {database}.leaves WHERE kind = {record}
            AND (spool_id, first) > (toFixedString(unhex({{spool:String}}), 16), {{sequence:UInt64}})
            AND (spool_id, first) <= (toFixedString(unhex({{end_spool:String}}), 16), {{end:UInt64}}))
    AND stored_ns < toUnixTimestamp64Nano(now64(9)) - 60000000000
ORDER BY spool_id, sequence LIMIT {{most:UInt32}}
"""
# Leaves that are held in memory at once, and ranges that are read to count so many.
_WINDOW_LEAVES: Final = 1_000_000
_WINDOW_RANGES: Final = 10_000
_RANGES: Final = """
SELECT spool_id, first, last FROM {database}.received WHERE NOT is_gap
    AND (spool_id, last) > (toFixedString(unhex({{spool:String}}), 16), {{sequence:UInt64}})
ORDER BY spool_id, first LIMIT {{most:UInt32}}
"""
_OF_CALL: Final = """
SELECT DISTINCT tenant, spool_id, sequence FROM {database}.records WHERE call_id = {{call:String}}
ORDER BY spool_id, sequence
"""

_Key = tuple[bytes, int]
_LAST: Final[_Key] = (b"\xff" * 16, (1 << 64) - 1)


class AuditTables:
    """See storage.audit.AuditArchive. Safe from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._database = connection.location.database

    # -- notes

    def put(self, kind: str, notes: Mapping[bytes, bytes]) -> None:
        """See AuditArchive."""
        written_ns = time.time_ns()
        rows = [(kind, key, value, written_ns) for key, value in notes.items()]
        self._connection.insert("audit", AUDIT, rows)

    def notes(self, kind: str, after: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """See AuditArchive."""
        return self._noted(kind, ">", after, "ASC", most)

    def latest_notes(self, kind: str, below: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """See AuditArchive."""
        return self._noted(kind, "<", below or _BEYOND, "DESC", most)

    def _noted(
        self, kind: str, sign: str, key: bytes, direction: str, most: int
    ) -> list[tuple[bytes, bytes]]:
        statement = _NOTES.format(database=self._database, sign=sign, direction=direction)
        rows = self._connection.rows(statement, {"kind": kind, "key": key.hex(), "most": most})
        return [(bytes.fromhex(each), value) for each, value in rows]

    # -- leaves

    def logs(self) -> list[LogSize]:
        """See AuditArchive."""
        rows = self._rows(_LOGS)
        return [LogSize(LogId(tenant, day, log), size, day) for tenant, day, log, size in rows]

    def leaves(self, log: LogSize, first: int, most: int) -> list[Leaf]:
        """See AuditArchive."""
        return [leaf for _, leaf in self._leaves(log, first, most)]

    def entries(self, log: LogSize, first: int, most: int) -> list[LoggedEntry]:
        """See AuditArchive."""
        leaves = self._leaves(log, first, most)
        keys = [(leaf.spool_id.hex(), leaf.first) for _, leaf in leaves if leaf.kind == RECORD]
        found: dict[_Key, list[Envelope | Tombstone]] = {}
        if keys:
            for row in self._rows(_TOMBSTONES, keys=keys, tenant=log.log.tenant):
                found.setdefault(row[:2], []).append(Tombstone(*row[2:]))
            for row in self._rows(_RECORDS, keys=keys, tenant=log.log.tenant):
                found.setdefault(row[:2], []).append(Envelope(*row[2:]))
        return [each for index, leaf in leaves for each in _entries(index, leaf, found)]

    def unlogged(self, after: tuple[bytes, int], most: int) -> list[tuple[str, LoggedEntry]]:
        """See AuditArchive."""
        statement = _UNLOGGED.format(database=self._database, record=RECORD)
        while True:
            end = self._window_end(after)
            values = {"spool": after[0].hex(), "sequence": after[1], "most": most}
            values |= {"end_spool": end[0].hex(), "end": end[1]}
            found = list(map(_unlogged, self._connection.rows(statement, values)))
            if found or end == _LAST:
                return found
            after = end

    def _window_end(self, after: _Key) -> _Key:
        """Up to where some leaves follow `after`, as many as may be held at once; the end where few do."""
        left = _WINDOW_LEAVES
        values = {"spool": after[0].hex(), "sequence": after[1], "most": _WINDOW_RANGES}
        rows = self._connection.rows(_RANGES.format(database=self._database), values)
        for spool_id, first, last in rows:
            begin = max(first, after[1] + 1) if spool_id == after[0] else first
            if last - begin >= left:
                return spool_id, begin + left - 1
            left -= last - begin + 1
        return (rows[-1][0], rows[-1][2]) if len(rows) == _WINDOW_RANGES else _LAST

    def places(self, spool_id: bytes, sequence: int) -> list[Place]:
        """See AuditArchive."""
        rows = self._rows(_PLACES, spool=spool_id.hex(), at=sequence)
        return [Place(LogId(*row[:3]), row[3], Leaf(*row[4:])) for row in rows]

    def hashes(self, spool_id: bytes, first: int, last: int) -> dict[int, bytes]:
        """See AuditArchive."""
        is_near = (last - first) // PLACE_SEQUENCES < _MOST_PLACES
        statement = _HASHES.format(
            database=self._database, deletion=DELETION, places=_PLACES_OF if is_near else ""
        )
        values = {"spool": spool_id.hex(), "first": first, "last": last}
        return dict(self._connection.rows(statement, values))

    def sequences_of(self, call_id: str) -> list[tuple[str, bytes, int]]:
        """See AuditArchive."""
        return [(tenant, spool_id, at) for tenant, spool_id, at in self._rows(_OF_CALL, call=call_id)]

    def _leaves(self, log: LogSize, first: int, most: int) -> list[tuple[int, Leaf]]:
        values = {"day": log.log.day, "tenant": log.log.tenant, "log": log.log.log}
        rows = self._rows(_LEAVES, first=first, most=most, **values)
        return [(row[0], Leaf(*row[1:])) for row in rows]

    def _rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        return self._connection.rows(statement.format(database=self._database), values)


def _entries(
    index: int, leaf: Leaf, found: Mapping[_Key, Sequence[Envelope | Tombstone]]
) -> Iterator[LoggedEntry]:
    """One entry; another one with the same index for each row that there should not be."""
    there = found.get((leaf.spool_id, leaf.first)) if leaf.kind == RECORD else None
    yield from (LoggedEntry(index, leaf, each) for each in there or (None,))


def _unlogged(row: tuple[Any, ...]) -> tuple[str, LoggedEntry]:
    tenant, spool_id, sequence, hashed, previous, salt, record, stored_ns = row
    leaf = Leaf(RECORD, spool_id, sequence, sequence, hashed)
    return tenant, LoggedEntry(None, leaf, Envelope(previous, salt, record), stored_ns)
