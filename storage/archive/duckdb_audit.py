"""Audit in the DuckDB engine: the leaves that stand beside records, and a file of what is said of them.

    ARCHIVE/audit.duckdb
        notes   kind, key, value    one value for each key of a kind; what they mean is the audit's business

In the files of records (they are written by the archive, in the transactions of their records):

    leaves      tenant, log, leaf_index, kind, spool_id, first, last, hash, reason
    tombstones  tenant, spool_id, sequence, previous_hash, hash, reason, deleted_ns

A log lies wholly in one file. Notes are written through a connection of their own.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import duckdb

from infertap.verification import DELETION, RECORD, Envelope, Leaf, LoggedEntry, LogId, Tombstone
from storage.archive.duckdb_files import make_file, quoted, said
from storage.archive.duckdb_packing import unpacked
from storage.archive.duckdb_transactions import transaction
from storage.archive.interface import ArchiveError
from storage.audit import LogSize, Place

FILE: Final = "audit.duckdb"
_CREATE: Final = ("CREATE TABLE {file}.notes (kind VARCHAR, key BLOB, value BLOB)",)
_FORGET: Final = "DELETE FROM audit.notes WHERE kind = ? AND key IN (SELECT unnest(?::BLOB[]))"
_KEEP: Final = "INSERT INTO audit.notes SELECT ?, unnest(?::BLOB[]), unnest(?::BLOB[])"
_NOTES: Final = "SELECT key, value FROM audit.notes WHERE kind = ? AND key > ? ORDER BY key LIMIT ?"
_LATEST: Final = "SELECT key, value FROM audit.notes WHERE kind = ? AND key < ? ORDER BY key DESC LIMIT ?"
_BEYOND: Final = b"\xff" * 33

# With {part} for the attached file.
_LOGS: Final = "SELECT tenant, log, max(leaf_index) + 1 FROM {part}.leaves GROUP BY tenant, log"
_LEAVES: Final = (
    "SELECT leaf_index, kind, spool_id, first, last, hash, reason FROM {part}.leaves "
    "WHERE tenant = ? AND log = ? AND leaf_index >= ? ORDER BY leaf_index LIMIT ?"
)
_PLACES: Final = (
    "SELECT tenant, log, leaf_index, kind, spool_id, first, last, hash, reason FROM {part}.leaves "
    "WHERE spool_id = ? AND first <= ? AND last >= ?"
)
_HASHES: Final = (
    "SELECT last, hash FROM {part}.leaves WHERE spool_id = ? AND last BETWEEN ? AND ? AND kind != ?"
)
# Pairs of spool and sequence, of the tenant whose log tells of them: a row that is another's by now is not
# what was stored. The span of the sequences is what the engine skips most of a file by.
_WANTED: Final = (
    "(SELECT unnest(?::BLOB[]) AS spool_id, unnest(?::UBIGINT[]) AS sequence) wanted "
    "USING (spool_id, sequence) WHERE sequence BETWEEN ? AND ? AND tenant = ?"
)
# Rows first, their bytes then: a join reads all columns of what it looks through.
_ROWS: Final = f"SELECT r.rowid FROM {{part}}.records r JOIN {_WANTED}"  # noqa: S608
_RECORDS: Final = (
    "SELECT spool_id, sequence, previous_hash, salt, record FROM {part}.records "
    "WHERE rowid IN (SELECT unnest(?::BIGINT[]))"
)
_TOMBSTONES: Final = (
    f"SELECT spool_id, sequence, previous_hash, reason, deleted_ns FROM {{part}}.tombstones JOIN {_WANTED}"  # noqa: S608
)
_UNLOGGED: Final = (
    "SELECT tenant, spool_id, sequence, hash, previous_hash, salt, record, stored_ns FROM {part}.records r "
    "WHERE NOT EXISTS (FROM {part}.leaves l WHERE l.kind = 1 AND l.spool_id = r.spool_id "
    "AND l.first = r.sequence AND l.tenant = r.tenant) AND (spool_id, sequence) > (?, ?) "
    "ORDER BY spool_id, sequence LIMIT ?"
)
_OF_CALL: Final = "SELECT tenant, spool_id, sequence FROM {part}.records WHERE call_id = ?"

Parts = Callable[[], AbstractContextManager[Sequence[tuple[str, str]]]]
_Key = tuple[bytes, int]


class AuditTables:
    """See storage.audit.AuditArchive. Safe from any thread."""

    def __init__(self, connection: "duckdb.DuckDBPyConnection", parts: Parts) -> None:
        """Use `open`."""
        self._connection = connection
        self._parts = parts
        self._writing = threading.Lock()

    @classmethod
    def open(cls, connection: "duckdb.DuckDBPyConnection", directory: Path, parts: Parts) -> "AuditTables":
        """Attach the file in `directory`, made where it is not there; within `parts` the files of records
        that it gives stay attached: the schema's name and the day of each. Raises duckdb.Error, OSError.
        """
        path = directory / FILE
        if not path.exists():
            make_file(connection, path, _CREATE)
        connection.execute(f"ATTACH IF NOT EXISTS '{quoted(path)}' AS audit")
        return cls(connection.cursor(), parts)

    def close(self) -> None:
        """Let the file go."""
        with self._writing:
            self._connection.close()

    # -- notes

    def put(self, kind: str, notes: Mapping[bytes, bytes]) -> None:
        """See AuditArchive."""
        with self._writing, _translated(), transaction(self._connection):
            self._connection.execute(_FORGET, [kind, list(notes)])
            kept = {key: value for key, value in notes.items() if value}
            self._connection.execute(_KEEP, [kind, list(kept), list(kept.values())])

    def notes(self, kind: str, after: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """See AuditArchive."""
        with self._cursor() as cursor:
            return _pairs(cursor.execute(_NOTES, [kind, after, most]).fetchall())

    def latest_notes(self, kind: str, below: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """See AuditArchive."""
        with self._cursor() as cursor:
            return _pairs(cursor.execute(_LATEST, [kind, below or _BEYOND, most]).fetchall())

    # -- leaves

    def logs(self) -> list[LogSize]:
        """See AuditArchive."""
        found: list[LogSize] = []
        with self._parts() as parts, self._cursor() as cursor:
            for part, day in parts:
                rows = cursor.execute(_LOGS.format(part=part)).fetchall()
                found += [LogSize(LogId(tenant, day, log), size, part) for tenant, log, size in rows]
        return sorted(found, key=lambda each: (each.log.day, each.log.tenant, each.log.log))

    def leaves(self, log: LogSize, first: int, most: int) -> list[Leaf]:
        """See AuditArchive."""
        with self._parts() as parts, self._cursor() as cursor:
            return [leaf for _, leaf in _leaves(cursor, _part_of(log, parts), log, first, most)]

    def entries(self, log: LogSize, first: int, most: int) -> list[LoggedEntry]:
        """See AuditArchive."""
        with self._parts() as parts, self._cursor() as cursor:
            part = _part_of(log, parts)
            leaves = _leaves(cursor, part, log, first, most)
            records = [leaf for _, leaf in leaves if leaf.kind == RECORD]
            found: dict[_Key, list[Envelope | Tombstone]] = {}
            if records:
                firsts = [leaf.first for leaf in records]
                spools, span = [leaf.spool_id for leaf in records], (min(firsts), max(firsts))
                wanted = [spools, firsts, *span, log.log.tenant]
                for row in cursor.execute(_TOMBSTONES.format(part=part), wanted).fetchall():
                    found.setdefault(_key(row), []).append(Tombstone(bytes(row[2]), row[3], row[4]))
                rows = [row for (row,) in cursor.execute(_ROWS.format(part=part), wanted).fetchall()]
                for row in cursor.execute(_RECORDS.format(part=part), [rows]).fetchall():
                    found.setdefault(_key(row), []).append(_envelope(*row[2:]))
        return [each for index, leaf in leaves for each in _entries(index, leaf, found)]

    def unlogged(self, after: tuple[bytes, int], most: int) -> list[tuple[str, LoggedEntry]]:
        """See AuditArchive."""
        found: list[tuple[str, LoggedEntry]] = []
        with self._parts() as parts, self._cursor() as cursor:
            for part, _ in parts:
                rows = cursor.execute(_UNLOGGED.format(part=part), [*after, most]).fetchall()
                found += map(_unlogged, rows)
        found.sort(key=lambda each: (each[1].leaf.spool_id, each[1].leaf.first))
        return found[:most]

    def places(self, spool_id: bytes, sequence: int) -> list[Place]:
        """See AuditArchive."""
        found: list[Place] = []
        with self._parts() as parts, self._cursor() as cursor:
            for part, day in parts:
                rows = cursor.execute(_PLACES.format(part=part), [spool_id, sequence, sequence]).fetchall()
                found += [Place(LogId(row[0], day, row[1]), row[2], _leaf(row[3:])) for row in rows]
        return found

    def hashes(self, spool_id: bytes, first: int, last: int) -> dict[int, bytes]:
        """See AuditArchive."""
        found: dict[int, bytes] = {}
        with self._parts() as parts, self._cursor() as cursor:
            for part, _ in parts:
                rows = cursor.execute(_HASHES.format(part=part), [spool_id, first, last, DELETION])
                found.update((sequence, bytes(hashed)) for sequence, hashed in rows.fetchall())
        return found

    def sequences_of(self, call_id: str) -> list[tuple[str, bytes, int]]:
        """See AuditArchive."""
        found: list[tuple[str, bytes, int]] = []
        with self._parts() as parts, self._cursor() as cursor:
            for part, _ in parts:
                rows = cursor.execute(_OF_CALL.format(part=part), [call_id]).fetchall()
                found += [(tenant, bytes(spool_id), sequence) for tenant, spool_id, sequence in rows]
        return sorted(found, key=lambda each: each[1:])

    @contextlib.contextmanager
    def _cursor(self) -> "Iterator[duckdb.DuckDBPyConnection]":
        with _translated(), self._connection.cursor() as cursor:
            yield cursor


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise ArchiveError(said(error)) from None


def _part_of(log: LogSize, parts: Sequence[tuple[str, str]]) -> str:
    """The file that a log lies in now: it may have been rewritten, to its next generation, since the log was
    looked at. Raises ArchiveError where it was dropped.
    """
    place = log.part.rpartition("_")[0]
    found = next((part for part, _ in parts if part.rpartition("_")[0] == place), None)
    if found is None:
        raise ArchiveError("the file of this log was dropped meanwhile; ask again")
    return found


def _leaves(
    cursor: "duckdb.DuckDBPyConnection", part: str, log: LogSize, first: int, most: int
) -> list[tuple[int, Leaf]]:
    values = [log.log.tenant, log.log.log, first, most]
    rows = cursor.execute(_LEAVES.format(part=part), values).fetchall()
    return [(row[0], _leaf(row[1:])) for row in rows]


def _entries(
    index: int, leaf: Leaf, found: Mapping[_Key, Sequence[Envelope | Tombstone]]
) -> Iterator[LoggedEntry]:
    """One entry; another one with the same index for each row that there should not be."""
    there = found.get((leaf.spool_id, leaf.first)) if leaf.kind == RECORD else None
    yield from (LoggedEntry(index, leaf, each) for each in there or (None,))


def _unlogged(row: tuple[Any, ...]) -> tuple[str, LoggedEntry]:
    tenant, spool_id, sequence, hashed, previous, salt, record, stored_ns = row
    leaf = Leaf(RECORD, bytes(spool_id), sequence, sequence, bytes(hashed))
    envelope = _envelope(previous, salt, record)
    return tenant, LoggedEntry(None, leaf, envelope, stored_ns)


def _envelope(previous: Any, salt: Any, held: Any) -> Envelope:
    """What a row says; a record that can't be unpacked is what it is held as, which no hash is of."""
    record = bytes(held)
    with contextlib.suppress(ArchiveError):
        record = unpacked(record)
    return Envelope(bytes(previous), bytes(salt), record)


def _leaf(row: Sequence[Any]) -> Leaf:
    kind, spool_id, first, last, hashed, reason = row
    return Leaf(kind, bytes(spool_id), first, last, bytes(hashed), reason or "")


def _key(row: Sequence[Any]) -> _Key:
    return bytes(row[0]), row[1]


def _pairs(rows: Sequence[tuple[Any, Any]]) -> list[tuple[bytes, bytes]]:
    return [(bytes(key), bytes(value)) for key, value in rows]
