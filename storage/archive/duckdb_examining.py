"""Examining: files of records that turn out to be damaged while the engine runs are set aside.

Whoever meets damage says so; the file at fault is then found by reading all of each file, which takes a while
for large ones. What it had received is forgotten with it: `look` says so, for spools to be told again.
"""

import threading
import time
from collections.abc import Callable

import duckdb

from storage.archive.duckdb_damage import is_damage, set_aside
from storage.archive.duckdb_files import said
from storage.archive.duckdb_kept import Kept
from storage.archive.duckdb_parts import Part, Parts
from storage.archive.duckdb_schema import TABLES
from storage.archive.duckdb_writing import Writing


class Examining:
    """Takes hints from any thread; looks when it is told to."""

    def __init__(
        self,
        connection: "duckdb.DuckDBPyConnection",
        parts: Parts,
        kept: Kept,
        writing: Writing,
        tell: Callable[..., object],
    ) -> None:
        self._connection = connection
        self._parts = parts
        self._kept = kept
        self._writing = writing
        self._tell = tell
        self._is_suspected = threading.Event()

    def suspect(self, error: "duckdb.Error") -> None:
        """A query met with that; harmless where it is no damage."""
        if is_damage(error):
            self._is_suspected.set()

    def look(self) -> bool:
        """Where damage is suspected: find the files, set them aside; whether there were any. Nobody may
        rewrite or drop files meanwhile. Raises duckdb.Error and OSError.
        """
        if not self._is_suspected.is_set():
            return False
        self._is_suspected.clear()
        found = [(part, why) for part in self._parts.all if (why := self._what_is_wrong(part))]
        for part, why in found:
            self._set_aside(part, why)
        if found:
            self._writing.recall()
        return bool(found)

    def _what_is_wrong(self, part: Part) -> str:
        with self._connection.cursor() as cursor:
            for table, columns in TABLES.items():
                names = ", ".join(columns)
                try:
                    cursor.execute(f"SELECT bit_xor(hash({names})) FROM {part.name}.{table}").fetchone()  # noqa: S608
                except duckdb.Error as error:
                    if is_damage(error):
                        return said(error)
                    raise
        return ""

    def _set_aside(self, part: Part, why: str) -> None:
        found_ns = time.time_ns()

        def put_away() -> None:
            damage = set_aside(part.path, found_ns, why, whole=True)
            self._kept.note_damage(damage)
            self._tell("archive file set aside", name=damage.name, kept_as=damage.kept_as, why=why)

        self._writing.give_up(part)
        self._parts.set_aside(part, put_away)
