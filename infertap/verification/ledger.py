"""Ledger: what was seen of each spool, on disk, so that chains are followed in whatever order entries came.

Touches one temporary file, some 150 bytes for each entry, which goes with it; memory stays the same.
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

from infertap.verification.leaves import DELETION, RECORD, Leaf

_CREATE: Final = """
CREATE TABLE entries
(spool_id BLOB, first INTEGER, last INTEGER, kind INTEGER, hash BLOB, previous_hash BLOB);
CREATE TABLE deletions (spool_id BLOB, sequence INTEGER, hash BLOB);
CREATE TABLE tombstones (spool_id BLOB, sequence INTEGER, hash BLOB);
"""
_FORGED: Final = """
SELECT spool_id, sequence FROM tombstones t WHERE NOT EXISTS (SELECT 1 FROM deletions d
WHERE d.spool_id = t.spool_id AND d.sequence = t.sequence AND d.hash = t.hash) ORDER BY spool_id, sequence
"""
_COMMIT_EVERY: Final = 10_000

# spool id, first, last, kind, hash, previous hash or None
Row = tuple[bytes, int, int, int, bytes, bytes | None]


class Ledger:
    """All entries of an export. A context manager."""

    def __init__(self) -> None:
        """Empty, in a temporary directory."""
        self._directory = tempfile.TemporaryDirectory(prefix="infertap-verify-")
        self._database = sqlite3.connect(Path(self._directory.name) / "ledger", isolation_level=None)
        self._database.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_CREATE} BEGIN")
        self._rows: list[Row] = []

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._database.close()
        self._directory.cleanup()

    def note(self, leaf: Leaf, previous_hash: bytes | None) -> None:
        """A leaf; `previous_hash` where its record or tombstone says one that can be believed."""
        if leaf.kind == DELETION:
            values = (leaf.spool_id, leaf.first, leaf.hash)
            self._database.execute("INSERT INTO deletions VALUES (?, ?, ?)", values)
            return
        self._rows.append((leaf.spool_id, leaf.first, leaf.last, leaf.kind, leaf.hash, previous_hash))
        if len(self._rows) >= _COMMIT_EVERY:
            self._write()

    def note_tombstone(self, leaf: Leaf) -> None:
        """The record of that leaf is a tombstone."""
        values = (leaf.spool_id, leaf.first, leaf.hash)
        self._database.execute("INSERT INTO tombstones VALUES (?, ?, ?)", values)

    def close_books(self) -> None:
        """All is noted: what follows reads."""
        self._write()
        self._database.execute("CREATE INDEX by_deletion ON deletions (spool_id, sequence)")

    def _write(self) -> None:
        self._database.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", self._rows)
        self._rows.clear()

    def entries(self) -> Iterator[Row]:
        """Records and gaps by spool and sequence; of one sequence records first."""
        yield from self._database.execute("SELECT * FROM entries ORDER BY spool_id, first, kind, hash")

    def forged(self) -> Iterator[tuple[bytes, int]]:
        """Tombstones whose deletion no leaf tells of."""
        yield from self._database.execute(_FORGED)

    def follower(self, spool_id: bytes, hashed: bytes) -> tuple[int, bytes] | None:
        """Sequence and hash of the record after the entry with that hash."""
        after = "SELECT last + 1 FROM entries WHERE spool_id = ? AND hash = ?"
        row = self._database.execute(
            f"SELECT first, hash FROM entries WHERE spool_id = ? AND kind = {RECORD} AND first IN ({after})",  # noqa: S608
            (spool_id, spool_id, hashed),
        ).fetchone()
        return None if row is None else (row[0], row[1])
