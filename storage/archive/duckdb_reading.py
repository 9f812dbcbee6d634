"""Reading: records out of the DuckDB engine, over all files, while it writes."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence

import duckdb

from infertap import v1
from infertap.query import Query, is_segment, join_segments
from storage.archive.duckdb_extents import asked_for
from storage.archive.duckdb_files import said
from storage.archive.duckdb_pages import read_page, served_row
from storage.archive.duckdb_parts import Parts
from storage.archive.duckdb_queries import CALLS_OF, of_call_id, stored_of
from storage.archive.duckdb_segments import CallSegments
from storage.archive.entries import Page, Position
from storage.archive.interface import ArchiveError, Interrupt


class Reading:
    """Answers queries, each with a cursor of its own. Safe from any thread."""

    def __init__(
        self,
        connection: "duckdb.DuckDBPyConnection",
        parts: Parts,
        suspect: Callable[["duckdb.Error"], object],
    ) -> None:
        """`suspect` hears of every error that a query meets with."""
        self._connection = connection
        self._suspect = suspect
        self._parts = parts

    @contextlib.contextmanager
    def cursor(self, interrupt: Interrupt | None) -> "Iterator[duckdb.DuckDBPyConnection]":
        """A cursor that an interrupt ends; what the engine says is an ArchiveError."""
        asked = interrupt or Interrupt()
        try:
            with self._connection.cursor() as cursor:
                asked.during(cursor.interrupt)
                try:
                    yield cursor
                finally:
                    asked.during(None)
        except duckdb.InterruptException:
            raise ArchiveError("the query was ended") from None
        except duckdb.Error as error:
            self._suspect(error)
            raise ArchiveError(said(error)) from None

    @contextlib.contextmanager
    def all_parts(
        self, interrupt: Interrupt | None
    ) -> "Iterator[tuple[duckdb.DuckDBPyConnection, Sequence[str]]]":
        """A cursor, and what the files are attached as, newest first, for as long as it lasts."""
        with self._parts.reading() as parts, self.cursor(interrupt) as cursor:
            yield cursor, [part.name for part in parts]

    @contextlib.contextmanager
    def parts_of(
        self, query: Query, interrupt: Interrupt
    ) -> "Iterator[tuple[duckdb.DuckDBPyConnection, Sequence[str]]]":
        """The same, but for files whose calls started at other times than the query's."""
        with self.all_parts(interrupt) as (cursor, parts):
            extents, asked = self._parts.extents.of(cursor, parts), asked_for(query)
            near = [part for part, extent in zip(parts, extents, strict=True) if extent.meets(asked)]
            yield cursor, near

    def get(self, call_id: str, tenant: str | None, interrupt: Interrupt | None) -> v1.Record | None:
        """See Archive."""
        with self.all_parts(interrupt) as (cursor, parts):
            if not parts:
                return None
            asked = {"call_id": call_id, "tenant": tenant}
            row = cursor.execute(of_call_id(parts), asked).fetchone()
            if row is None:
                return None
            stored = stored_of(row)
            record = stored.served()
            if not is_segment(record):
                return record
            return join_segments(CallSegments(call_id, stored.position, parts).all(cursor))

    def row(self, record: v1.Record, interrupt: Interrupt | None) -> v1.Record | None:
        """See Archive."""
        if not is_segment(record):
            return record
        with self.all_parts(interrupt) as (cursor, parts):
            return served_row(cursor, parts, record)

    def page(self, query: Query, after: Position | None, size: int, interrupt: Interrupt) -> Page:
        """See Archive."""
        with self.all_parts(interrupt) as (cursor, parts):
            extents = self._parts.extents
            return read_page(cursor, parts, extents, query, after, size=size, interrupt=interrupt)

    def calls_of(
        self, request_ids: Collection[str], most: int, tenant: str | None, interrupt: Interrupt | None
    ) -> dict[str, list[str]]:
        """See Archive."""
        found: dict[str, dict[str, None]] = {each: {} for each in request_ids}
        with self.all_parts(interrupt) as (cursor, parts):
            for part in parts if found else ():
                rows = cursor.execute(CALLS_OF.format(day=part), [list(found), tenant, most]).fetchall()
                for request_id, call_id in rows:
                    if len(found[request_id]) < most:
                        found[request_id][call_id] = None
        return {request_id: list(calls) for request_id, calls in found.items()}
