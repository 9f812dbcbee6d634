"""Kept: what the DuckDB engine remembers for ever, in a file that no retention touches.

    ARCHIVE/kept.duckdb
        received   spool_id, first, last, is_gap       what files that are gone had received
        forgotten  spool_id, first, last               what was deleted on request: spools drop it too
        requests   tenant, user, asked_ns              whose records were deleted on request; tenant null: all
        damages    name, kept_as, found_ns, why        files that were set aside

It is small: ranges are joined, and a user is the keyed hash that records have.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb

from storage.archive.duckdb_files import make_file, quoted
from storage.archive.duckdb_inserting import insert_rows
from storage.archive.duckdb_schema import CREATE_VERSION, create_table, version_of
from storage.archive.duckdb_transactions import transaction
from storage.archive.ranges import Range, RangeSet
from storage.archive.removals import Damage

FILE: Final = "kept.duckdb"
_TABLES: Final = {
    "received": {"spool_id": "BLOB", "first": "UBIGINT", "last": "UBIGINT", "is_gap": "BOOLEAN"},
    "forgotten": {"spool_id": "BLOB", "first": "UBIGINT", "last": "UBIGINT"},
    "requests": {"tenant": "VARCHAR", "user": "VARCHAR", "asked_ns": "BIGINT"},
    "damages": {"name": "VARCHAR", "kept_as": "VARCHAR", "found_ns": "BIGINT", "why": "VARCHAR"},
}
_CREATE: Final = (
    *CREATE_VERSION,
    *(
        create_table(name, {f'"{each}"': kind for each, kind in columns.items()})
        for name, columns in _TABLES.items()
    ),
)


def _tell_nobody(_: Mapping[bytes, Sequence[Range]]) -> None:
    """Where nobody wants to know."""


class Received:
    """What has been received of one spool."""

    __slots__ = ("all", "records")

    def __init__(self) -> None:
        self.records = RangeSet()
        self.all = RangeSet()

    def add(self, first: int, last: int, is_gap: bool) -> None:
        """`first` to `last` have been received."""
        self.all.add(first, last)
        if not is_gap:
            self.records.add(first, last)

    def rows(self) -> list[tuple[int, int, bool]]:
        """First, last and whether it is a gap: all that `add` needs to be told."""
        found = [(first, last, False) for first, last in self.records]
        return found + [
            (first, last, True) for first, last in self.all if not self.records.covers(first, last)
        ]


class Kept:
    """The file, and in memory what appends ask it for. Safe from any thread."""

    def __init__(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """Use `open`."""
        # See Archive.on_forgotten.
        self.on_forgotten: Callable[[Mapping[bytes, Sequence[Range]]], object] = _tell_nobody
        self._connection = connection
        self._lock = threading.Lock()
        self._requests: dict[tuple[str | None, str], int] = {}
        self._forgotten: dict[bytes, RangeSet] = {}
        for tenant, user, asked_ns in self._rows('tenant, "user", asked_ns FROM kept.requests'):
            self._note_request(tenant, user, asked_ns)
        for spool_id, first, last in self._rows("spool_id, first, last FROM kept.forgotten"):
            self._forgotten.setdefault(bytes(spool_id), RangeSet()).add(first, last)

    @classmethod
    def open(cls, connection: "duckdb.DuckDBPyConnection", directory: Path) -> "Kept":
        """Attach the file in `directory`, made where it is not there. Raises duckdb.Error, OSError and
        NewerSchemaError.
        """
        path = directory / FILE
        if not path.exists():
            make_file(connection, path, _CREATE)
        connection.execute(f"ATTACH IF NOT EXISTS '{quoted(path)}' AS kept")
        version_of(connection, "kept")
        return cls(connection.cursor())

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            self._connection.close()

    # -- received

    def received(self) -> Iterator[tuple[bytes, int, int, bool]]:
        """Spool id, first, last and whether it is a gap, of all that files that are gone had received."""
        for spool_id, first, last, is_gap in self._rows("spool_id, first, last, is_gap FROM kept.received"):
            yield bytes(spool_id), first, last, is_gap

    def keep_received(self, spools: Mapping[bytes, Received]) -> None:
        """Add what a file had received; durable on return. Raises duckdb.Error."""
        merged = dict(spools)
        for spool_id, first, last, is_gap in self.received():
            if spool_id in merged:
                merged[spool_id].add(first, last, is_gap)
        rows = [(spool_id, *row) for spool_id, known in merged.items() for row in known.rows()]
        with self._lock:
            self._replace("received", "spool_id IN (SELECT unnest(?::BLOB[]))", [list(merged)], rows)

    # -- deleted on request

    def forgotten(self, spool_id: bytes) -> list[Range]:
        """See Archive."""
        with self._lock:
            return list(self._forgotten.get(spool_id, ()))

    def all_forgotten(self) -> dict[bytes, list[Range]]:
        """By spool id."""
        with self._lock:
            return {spool_id: list(ranges) for spool_id, ranges in self._forgotten.items()}

    def forget(self, spools: Mapping[bytes, Iterable[Range]]) -> None:
        """These were deleted on request; durable on return. Raises duckdb.Error."""
        with self._lock:
            grown = {
                spool_id: RangeSet([*self._forgotten.get(spool_id, ()), *new])
                for spool_id, new in spools.items()
            }
            rows = [(spool_id, first, last) for spool_id, ranges in grown.items() for first, last in ranges]
            self._replace("forgotten", "spool_id IN (SELECT unnest(?::BLOB[]))", [list(grown)], rows)
            self._forgotten.update(grown)
        self.on_forgotten({spool_id: list(new) for spool_id, new in spools.items()})

    def remember_request(self, tenant: str | None, user: str, asked_ns: int) -> None:
        """Records of `user` are deleted, also what comes late; durable on return. Raises duckdb.Error."""
        with self._lock:
            condition = '"user" = ? AND tenant IS NOT DISTINCT FROM ?'
            self._replace("requests", condition, [user, tenant], [(tenant, user, asked_ns)])
            self._note_request(tenant, user, asked_ns)

    @property
    def has_requests(self) -> bool:
        """Whether anybody asked."""
        return bool(self._requests)

    def is_unwanted(self, tenant: str, user: str, start_ns: int) -> bool:
        """Whether a record was asked to be deleted before it came."""
        if not self._requests or not user:
            return False
        asked = [self._requests.get((whose, user), -1) for whose in (tenant, None)]
        return start_ns < max(asked)

    def _note_request(self, tenant: str | None, user: str, asked_ns: int) -> None:
        place = tenant, user
        self._requests[place] = max(asked_ns, self._requests.get(place, 0))

    # -- damages

    def damages(self) -> list[Damage]:
        """See Archive."""
        found = self._rows("name, kept_as, found_ns, why FROM kept.damages ORDER BY found_ns DESC")
        return [Damage(*row) for row in found]

    def note_damage(self, damage: Damage) -> None:
        """A file was set aside. Raises duckdb.Error."""
        row = (damage.name, damage.kept_as, damage.found_ns, damage.why)
        with self._lock:
            self._replace("damages", "kept_as = ?", [damage.kept_as], [row])

    # -- the file

    def _rows(self, selection: str) -> Sequence[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            return cursor.execute(f"SELECT {selection}").fetchall()

    def _replace(
        self, table: str, condition: str, values: list[Any], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """In one transaction: the rows of a table that meet a condition go, others come."""
        with transaction(self._connection):
            self._connection.execute(f"DELETE FROM kept.{table} WHERE {condition}", values)  # noqa: S608
            insert_rows(self._connection, f"kept.{table}", _TABLES[table], rows)
