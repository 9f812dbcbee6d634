"""Pages in the ClickHouse engine: records in a query's order, and single calls.

First the keys of the next rows, from columns alone, in windows of so many rows; then the records of as many
as fit on a page, by their keys. A text is looked for by the server, in one window at a time, and by us in
what it finds: so a page that finds nothing still says how far it has looked. Rows that were inserted twice
stand side by side in every order, and are taken once (LIMIT 1 BY).
"""

import dataclasses
import uuid
from collections.abc import Collection, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from infertap import v1
from infertap.query import Query, is_segment, join_segments
from storage.archive.clickhouse_conditions import Conditions, order_by, order_value
from storage.archive.clickhouse_connection import Connection
from storage.archive.clickhouse_writing import day_of
from storage.archive.entries import Page, Position, Stored
from storage.archive.interface import ArchiveError, Interrupt

# Records that are read at once: few at first, for they may be large; more once they prove to be small.
_FIRST_ROWS: Final = 50
_STEP_ROWS: Final = 1000
# Rows among which a text is looked for at a time, and for one page, before it is handed out as it is.
_WINDOW_ROWS: Final = 20_000
_MOST_ROWS: Final = 100_000
# Bytes of records in one page, but for one record alone: clients of gRPC take 4 MiB unless told otherwise.
_PAGE_BYTES: Final = 7 << 19
# What a record costs on a page beside its own bytes: what its server adds, at most.
_ITEM_BYTES: Final = 64
_STORED: Final = "start_ns, spool_id, sequence, stored_ns, tenant, record"
# Rows of a call in segments that are read at a time.
_SEGMENTS_AT_ONCE: Final = 64
# Rows of the last seconds that are looked through for what is new.
_MOST_ARRIVED: Final = 200_000
_LAST_NS: Final = (1 << 63) - 1
_MS_NS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Key:
    """A row that may stand for a call."""

    position: Position
    is_segment: bool


class Reading:
    """Reads records. Safe from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._database = connection.location.database

    # -- one call

    def get(self, call_id: str, tenant: str | None, interrupt: Interrupt | None) -> v1.Record | None:
        """See Archive."""
        start_ns = _start_of(call_id)
        rows = self._rows_of_call(call_id, tenant, start_ns, interrupt) if start_ns is not None else []
        rows = rows or self._rows_of_call(call_id, tenant, None, interrupt)
        if not rows:
            return None
        record = _stored(rows[0]).served()
        return join_segments(self._segments(record, None, interrupt)) if is_segment(record) else record

    def _rows_of_call(
        self, call_id: str, tenant: str | None, start_ns: int | None, interrupt: Interrupt | None
    ) -> list[tuple[Any, ...]]:
        """The latest row of a call, that started within the millisecond from `start_ns` where that is given:
        there the table's order leads to it, elsewhere an index that has to be read as a whole.
        """
        first, last = (0, _LAST_NS) if start_ns is None else (start_ns, start_ns + _MS_NS - 1)
        return self._connection.rows(
            f"SELECT {_STORED} FROM {self._database}.records WHERE call_id = {{call:String}} "
            "AND start_ns >= {first:Int64} AND start_ns <= {last:Int64} "
            "AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)}) "
            "ORDER BY stored_ns DESC, sequence DESC LIMIT 1",
            {"call": call_id, "tenant": tenant, "first": first, "last": last},
            interrupt,
        )

    def row(self, record: v1.Record, as_of_ns: int | None, interrupt: Interrupt | None) -> v1.Record | None:
        """See Archive.row: as things were then."""
        if not is_segment(record):
            return record
        if self._segment_rows(record, record.sequence + 1, as_of_ns, 1, interrupt):
            return None
        return join_segments(self._segments(record, as_of_ns, interrupt))

    def _segments(
        self, record: v1.Record, as_of_ns: int | None, interrupt: Interrupt | None
    ) -> Iterator[v1.Record]:
        """All segments of its call in order, few at a time."""
        first = 0
        while True:
            rows = self._segment_rows(record, first, as_of_ns, _SEGMENTS_AT_ONCE, interrupt)
            for row in rows:
                stored = _stored(row)
                yield stored.served()
                first = stored.position.sequence + 1
            if len(rows) < _SEGMENTS_AT_ONCE:
                return

    def _segment_rows(
        self, record: v1.Record, first: int, as_of_ns: int | None, most: int, interrupt: Interrupt | None
    ) -> list[tuple[Any, ...]]:
        # Segments of one call have one start and one spool: that is where they lie.
        return self._connection.rows(
            f"SELECT {_STORED} FROM {self._database}.records WHERE start_ns = {{start:Int64}} "
            "AND spool_id = toFixedString(unhex({spool:String}), 16) AND sequence >= {first:UInt64} "
            "AND call_id = {call:String} "
            f"AND stored_ns <= {{as_of:Int64}} ORDER BY sequence LIMIT 1 BY sequence LIMIT {most:d}",
            {
                "start": record.timing.start.ToNanoseconds(),
                "spool": record.spool_id.hex(),
                "first": first,
                "call": record.call_id,
                "as_of": _LAST_NS if as_of_ns is None else as_of_ns,
            },
            interrupt,
        )

    def calls_of(
        self, request_ids: Collection[str], most: int, tenant: str | None, interrupt: Interrupt | None
    ) -> dict[str, list[str]]:
        """See Archive."""
        found: dict[str, list[str]] = {each: [] for each in request_ids}
        if not found:
            return {}
        rows = self._connection.rows(
            f"SELECT request_id, call_id FROM {self._database}.records "
            "WHERE request_id IN {requests:Array(String)} "
            "AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)}) "
            "GROUP BY request_id, call_id ORDER BY max(start_ns) DESC LIMIT {most:UInt64} BY request_id",
            {"requests": list(found), "most": most, "tenant": tenant},
            interrupt,
        )
        for request_id, call_id in rows:
            found[request_id].append(call_id)
        return found

    # -- what arrives

    def arrived(self, since_ns: int, known: Container[tuple[bytes, int]], most: int) -> list[Stored]:
        """See SharedArchive."""
        rows = self._connection.rows(
            f"SELECT start_ns, spool_id, sequence FROM {self._database}.records "
            "WHERE stored_ns >= {since:Int64} "
            "AND toYYYYMMDD(fromUnixTimestamp64Nano(stored_ns, 'UTC')) >= {day:UInt32} "
            "ORDER BY stored_ns, spool_id, sequence LIMIT 1 BY spool_id, sequence LIMIT {most:UInt32}",
            {"since": since_ns, "day": _day_number(since_ns), "most": _MOST_ARRIVED},
        )
        positions = [Position(row[0], *row) for row in rows if (row[1], row[2]) not in known]
        found = self.stored(positions[:most], None) if positions else {}
        return sorted(found.values(), key=lambda each: each.stored_ns)

    # -- pages

    def page(self, query: Query, after: Position | None, size: int, interrupt: Interrupt) -> Page:
        """See Archive."""
        return _Filling(self, query, after, size, interrupt).page()

    def next_keys(self, query: Query, after: Position | None, most: int, interrupt: Interrupt) -> list[_Key]:
        """The next rows in order that may be wanted, but for the text."""
        where = Conditions(self._database).of_list(query, after)
        return self._keys(query, where, most, interrupt)

    def keys_with_text(
        self, query: Query, after: Position | None, interrupt: Interrupt
    ) -> tuple[list[_Key], Position | None]:
        """Of the next window's rows those that may hold the text, and the window's end; None where nothing
        follows it.
        """
        where = Conditions(self._database).of_list(query, after)
        # The window's end: keys alone are read for it.
        last = self._keys(query, where, 1, interrupt, skip=_WINDOW_ROWS - 1)
        where = Conditions(self._database).of_list(query, after)
        if last:
            where.not_beyond(query.order, last[0].position)
        where.may_hold(query.text)
        return self._keys(query, where, _WINDOW_ROWS, interrupt), last[0].position if last else None

    def _keys(
        self, query: Query, where: Conditions, most: int, interrupt: Interrupt, skip: int = 0
    ) -> list[_Key]:
        rows = self._connection.rows(
            f"SELECT {order_value(query.order)} AS value, start_ns, spool_id, sequence, is_segment "
            f"FROM {self._database}.records WHERE {where} ORDER BY {order_by(query.order)} "
            f"LIMIT 1 BY spool_id, sequence LIMIT {skip:d}, {most:d}",
            where.values,
            interrupt,
        )
        return [
            _Key(Position(value, start_ns, spool_id, sequence), segment)
            for value, start_ns, spool_id, sequence, segment in rows
        ]

    def stored(
        self, positions: Sequence[Position], interrupt: Interrupt | None
    ) -> dict[tuple[bytes, int], Stored]:
        """The records of these rows."""
        rows = self._connection.rows(
            f"SELECT {_STORED} FROM {self._database}.records "
            "WHERE (start_ns, spool_id, sequence) IN (SELECT key.1, toFixedString(unhex(key.2), 16), key.3 "
            "FROM (SELECT arrayJoin({keys:Array(Tuple(Int64, String, UInt64))}) AS key)) "
            "AND start_ns >= {first:Int64} AND start_ns <= {last:Int64} LIMIT 1 BY spool_id, sequence",
            {
                "keys": [(each.start_ns, each.spool_id.hex(), each.sequence) for each in positions],
                "first": min(each.start_ns for each in positions),
                "last": max(each.start_ns for each in positions),
            },
            interrupt,
        )
        found = map(_stored, rows)
        return {(each.position.spool_id, each.position.sequence): each for each in found}


class _Filling:
    """One page while it fills."""

    def __init__(
        self, reading: Reading, query: Query, after: Position | None, size: int, interrupt: Interrupt
    ) -> None:
        self._reading = reading
        self._query = query
        # What the engine has looked for is in no record.
        self._plain = dataclasses.replace(query, feedback=None)
        self._after = after
        self._size = size
        self._interrupt = interrupt
        self._found: list[v1.Record] = []
        self._weight = self._looked_at = self._read_rows = self._read_bytes = 0

    def page(self) -> Page:
        """The page; shorter where it is interrupted, or finds few among many."""
        while not self._interrupt.is_set and self._looked_at < _MOST_ROWS:
            if self._query.text:
                keys, end = self._reading.keys_with_text(self._query, self._after, self._interrupt)
                self._looked_at += _WINDOW_ROWS
            else:
                most = min(self._size - len(self._found), _STEP_ROWS)
                keys = self._reading.next_keys(self._query, self._after, most, self._interrupt)
                self._looked_at += len(keys)
                end = keys[-1].position if len(keys) == most else None
            if self._take(keys):
                break
            if end is None:
                return Page(self._found, None)
            self._after = end
        if self._after is None:  # which would say that there is no more
            raise ArchiveError("the query was ended")
        return Page(self._found, self._after)

    def _take(self, keys: Sequence[_Key]) -> bool:
        """Put what is wanted of these rows on the page; whether it is full, or was interrupted."""
        while keys and not self._interrupt.is_set:
            small = min(_PAGE_BYTES * self._read_rows // max(self._read_bytes, 1), _STEP_ROWS)
            now, keys = keys[: max(small, _FIRST_ROWS)], keys[max(small, _FIRST_ROWS) :]
            stored = self._reading.stored([key.position for key in now], self._interrupt)
            for key in now:
                row = stored.get((key.position.spool_id, key.position.sequence))
                if row is not None and self._is_full_with(row):
                    return True
                self._after = key.position
                if len(self._found) == self._size:
                    return True
        return bool(keys)

    def _is_full_with(self, stored: Stored) -> bool:
        """Put a record on the page, if it is wanted and fits; whether it does not fit."""
        self._read_rows += 1
        self._read_bytes += len(stored.record)
        record = self._reading.row(stored.served(), self._query.as_of_ns, self._interrupt)
        if record is None or not self._plain.matches(record):
            return False
        self._weight += record.ByteSize() + _ITEM_BYTES
        if self._found and self._weight > _PAGE_BYTES:
            return True
        self._found.append(record)
        return False


def _day_number(stored_ns: int) -> int:
    """The day as the table is cut by it: 20261121."""
    return int(day_of(stored_ns).replace("-", ""))


def _start_of(call_id: str) -> int | None:
    """When a call began, to the millisecond, as an id of version 7 says it (RFC 9562, section 5.7)."""
    value = uuid.UUID(call_id)
    start_ns = (value.int >> 80) * _MS_NS
    return start_ns if value.version == 7 and start_ns < _LAST_NS - _MS_NS else None


def _stored(row: tuple[Any, ...]) -> Stored:
    """What a row of _STORED says."""
    start_ns, spool_id, sequence, stored_ns, tenant, record = row
    return Stored(Position(start_ns, start_ns, spool_id, sequence), record, stored_ns, tenant)
