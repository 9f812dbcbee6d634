"""Arrivals in the ClickHouse engine: records in order of storing, whichever process stored them.

Each process stores by its own clock, and an insert takes its time: a record may be seen after others that
were stored later. So what was stored within the last SETTLE_NS is held back. It promises: nothing comes
before what was told, as far as clocks differ, replicas lag and inserts take less than that together; an
insert that took longer than LONG_INSERT_NS is inserted once more by its writer, with the time of then
(see clickhouse_writing), and so is told, perhaps again.
"""

import time
from collections.abc import Sequence
from typing import Any, Final

from infertap.query import Query
from storage.archive.clickhouse_conditions import Conditions
from storage.archive.clickhouse_connection import Connection
from storage.archive.clickhouse_pages import Reading
from storage.archive.entries import Arrival, Position, Stored
from storage.archive.interface import Interrupt

SETTLE_NS: Final = 20_000_000_000
_PARTITION: Final = "toYYYYMMDD(fromUnixTimestamp64Nano(stored_ns, 'UTC'))"
# A row that was inserted twice, with two times, is one row once its parts are merged, and may be told twice
# before: each row's own time counts.
_KEYS: Final = """
SELECT stored_ns, spool_id, sequence, start_ns, record_bytes FROM {database}.records
WHERE {such} AND stored_ns <= {{last:Int64}}
ORDER BY stored_ns, spool_id, sequence LIMIT 1 BY stored_ns, spool_id, sequence LIMIT {most:d}
"""


class Arrivals:
    """Tells what was stored, in order. Safe from any thread."""

    def __init__(self, connection: Connection, reading: Reading) -> None:
        self._connection = connection
        self._database = connection.location.database
        self._reading = reading

    def latest(self) -> Arrival:
        """See Archive.latest_arrival."""
        return Arrival(time.time_ns() - SETTLE_NS)

    def after(self, after: Arrival, most: int, most_bytes: int, interrupt: Interrupt) -> list[Stored]:
        """See Archive.arrivals."""
        such = Conditions(self._database)
        _behind(such, after)
        statement = _KEYS.format(database=self._database, such=such, most=most)
        values = {**such.values, "last": self.latest().stored_ns - 1}
        rows = _as_many_as_fit(self._connection.rows(statement, values, interrupt), most_bytes)
        if not rows:
            return []
        positions = [Position(row[3], row[3], row[1], row[2]) for row in rows]
        found = self._reading.stored(positions, interrupt)
        return [_at(found[row[1], row[2]], row[0]) for row in rows if (row[1], row[2]) in found]

    def waiting(self, after: Arrival, interrupt: Interrupt) -> int:
        """See Archive."""
        such = Conditions(self._database)
        _behind(such, after)
        return self._count(such, interrupt)

    def count_removed(self, of: "Conditions", after: Arrival, query: Query) -> int:
        """Of rows that meet conditions: how many were stored after a place and match."""
        such = Conditions(self._database)
        such.include(of)
        _behind(such, after)
        such.of_all(query)
        such.of_row(query)
        return self._count(such, None)

    def _count(self, such: Conditions, interrupt: Interrupt | None) -> int:
        statement = f"SELECT uniqExact(spool_id, sequence) FROM {self._database}.records WHERE {such}"
        [(count,)] = self._connection.rows(statement, such.values, interrupt)
        return int(count)


def of_records(database: str, keys: Sequence[tuple[bytes, int]], first_ns: int, last_ns: int) -> Conditions:
    """The records of these spool ids and sequences, which started between two times."""
    such = Conditions(database)
    such.must(
        "start_ns >= {first} AND start_ns <= {last} AND (spool_id, sequence) IN ("
        "SELECT toFixedString(unhex(key.1), 16), key.2 FROM (SELECT arrayJoin({keys}) AS key))",
        first=("Int64", first_ns),
        last=("Int64", last_ns),
        keys=("Array(Tuple(String, UInt64))", [(spool_id.hex(), sequence) for spool_id, sequence in keys]),
    )
    return such


def of_day(database: str, partition: int) -> Conditions:
    """What was stored on a day, as the table is cut by it: 20261121."""
    such = Conditions(database)
    such.must(f"{_PARTITION} = {{x}}", x=("UInt32", partition))
    return such


def _behind(such: Conditions, after: Arrival) -> None:
    such.must(
        "(stored_ns, spool_id, sequence) > ({a}, toFixedString(unhex({b}), 16), {c})",
        a=("Int64", after.stored_ns),
        b=("String", after.spool_id.hex()),
        c=("UInt64", after.sequence),
    )
    # What the engine can skip parts by.
    such.must("stored_ns >= {x}", x=("Int64", after.stored_ns))
    such.must(
        f"{_PARTITION} >= toYYYYMMDD(fromUnixTimestamp64Nano({{x}}, 'UTC'))", x=("Int64", after.stored_ns)
    )


def _as_many_as_fit(rows: Sequence[tuple[Any, ...]], most_bytes: int) -> Sequence[tuple[Any, ...]]:
    size = 0
    for number, row in enumerate(rows):
        size += row[4]
        if number and size > most_bytes:
            return rows[:number]
    return rows


def _at(stored: Stored, stored_ns: int) -> Stored:
    """As it was stored then."""
    return Stored(stored.position, stored.record, stored_ns, stored.tenant)
