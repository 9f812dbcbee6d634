"""Removing from the DuckDB engine: on request, by age, by size.

The engine gives no disk back for rows that are deleted, and leaves their bytes in the file. So files are
dropped as a whole, or rewritten without what is to go: beside the old one, which readers have until the new
one takes its place. Appends wait for none of it: no file that is written to is touched, it is retired
before.

What stays of a record: its range in `received`, its leaf, and where its file stays a tombstone. That it was
deleted is a leaf of its own in today's file, written before.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb

from infertap import v1
from infertap.query import Query
from storage.archive.duckdb_arrivals import count_removed
from storage.archive.duckdb_begun import (
    DOOMED_COLUMNS,
    forget_begun,
    has_begun,
    note_begun,
    take_up_begun,
)
from storage.archive.duckdb_damage import PREFIX, DamagedError, set_aside
from storage.archive.duckdb_expiry import Share, longest_age, next_share
from storage.archive.duckdb_files import said
from storage.archive.duckdb_opening import Opened
from storage.archive.duckdb_parts import Part
from storage.archive.duckdb_reading import Reading
from storage.archive.duckdb_rewriting import Doom, count_doomed, rewrite, victims
from storage.archive.duckdb_usage import usage_of
from storage.archive.interface import ArchiveError, CountRemoved, Interrupt
from storage.archive.ranges import RangeSet
from storage.archive.removals import Deletion, Expired, Matched, Retention
from storage.audit import Deleted

_PAGE: Final = 1000
# Of what is deleted, told to the audit's log at once: appends wait for it.
_LOGGED_AT_ONCE: Final = 1000
# How long what was found in a file that is written to counts.
_LOOK_SECONDS: Final = 5.0
# Between two looks at feedback that is over age.
_FEEDBACK_NS: Final = 12 * 3600 * 1_000_000_000
# Calls that go: of a deletion, which several connections look at; or of one cursor, that only counts.
_DOOMED: Final = "memory.main.doomed"
_COUNTED: Final = "temp.main.doomed"
_CREATE_DOOMED: Final = "CREATE OR REPLACE {temporary} TABLE {doomed} " + (
    f"({', '.join(f'{name} {kind}' for name, kind in DOOMED_COLUMNS.items())})"
)
_DOOM: Final = (
    "INSERT INTO {doomed} "
    "SELECT unnest(?::VARCHAR[]), unnest(?::BLOB[]), unnest(?::VARCHAR[]), unnest(?::VARCHAR[])"
)
_OF_MODELS: Final = "model IN (SELECT unnest(?::VARCHAR[]))"
_OF_DOOMED_CALL: Final = f"(call_id, spool_id) IN (SELECT (call_id, spool_id) FROM {_DOOMED})"  # noqa: S608


@dataclass(frozen=True, slots=True)
class _Look:
    """What was found in a file; final where nobody writes to it any more."""

    shares: list[Share]
    is_final: bool
    looked_at: float


def _count_nothing(_: CountRemoved) -> None:
    """Where nobody wants to know."""


def _leave_alone(day: str, name: str) -> None:
    """Where no audit wants to know."""


class Removing:
    """Removes. Safe from any thread; one thing at a time."""

    def __init__(self, opened: Opened, reading: Reading) -> None:
        self.on_drop: Callable[[str, str], object] = _leave_alone
        # See Archive.on_removal.
        self.before_removal: Callable[[CountRemoved], object] = _count_nothing
        # Held by whoever drops or rewrites files, or wants none to be.
        self.lock = threading.Lock()
        self._opened = opened
        self._directory = opened.parts.directory
        self._reading = reading
        self._feedback_looked_at_ns = 0
        self._shares: dict[Part, _Look] = {}

    # -- on request

    def matched(self, query: Query, interrupt: Interrupt) -> Matched:
        """See Archive."""
        records = record_bytes = 0
        with self._reading.cursor(None) as cursor:
            cursor.execute(_CREATE_DOOMED.format(temporary="TEMPORARY", doomed=_COUNTED))
            for page in self._calls(query, interrupt):
                records += len(page)
                record_bytes += sum(record.ByteSize() for record in page)
                cursor.execute(_DOOM.format(doomed=_COUNTED), _doom_columns(page))
            interrupt.during(cursor.interrupt)
            try:
                feedback = self._count_feedback(cursor)
            finally:
                interrupt.during(None)
        return Matched(records, record_bytes, feedback)

    def _count_feedback(self, cursor: "duckdb.DuckDBPyConnection") -> int:
        with self._opened.parts.reading() as parts:
            return self._opened.feedback.count_doomed(cursor, [part.name for part in parts], _COUNTED)

    def delete(self, query: Query, reason: str, now_ns: int, interrupt: Interrupt) -> Deletion:
        """See Archive."""
        with self.lock, _told():
            if query.user and query == Query(user=query.user, tenant=query.tenant):
                self._opened.kept.remember_request(query.tenant, query.user, now_ns)
            self._end_begun()
            with self._dooming() as cursor:
                for page in self._calls(query, interrupt):
                    cursor.execute(_DOOM.format(doomed=_DOOMED), _doom_columns(page))
                if query.feedback is None:
                    doom = Doom(_OF_DOOMED_CALL, (), reason, now_ns)
                    return self._delete_doomed(cursor, doom, interrupt)
                # Chosen by their feedback they would not be found again without it: so it goes last, and
                # what was begun is ended.
                note_begun(cursor, self._directory, _DOOMED, reason, now_ns)
                return self._delete_begun(cursor, reason, now_ns)

    @contextlib.contextmanager
    def _dooming(self) -> "Iterator[duckdb.DuckDBPyConnection]":
        """While there is a table of the calls that go."""
        with self._opened.connection.cursor() as cursor:
            cursor.execute(_CREATE_DOOMED.format(temporary="", doomed=_DOOMED))
            try:
                yield cursor
            finally:
                cursor.execute(f"DROP TABLE {_DOOMED}")

    def _end_begun(self) -> bool:
        """End the deletion that was begun and not ended, by a kill or an error; whether there was one."""
        if not has_begun(self._directory):
            return False
        with self._dooming() as cursor:
            try:
                reason, now_ns = take_up_begun(cursor, self._directory, _DOOMED)
            except DamagedError as error:  # given up, and told as any damage is: it is to be asked for again
                damage = set_aside(error.path, time.time_ns(), error.why, whole=True)
                self._opened.kept.note_damage(damage)
            else:
                self._delete_begun(cursor, reason, now_ns)
        return True

    def _delete_begun(self, cursor: "duckdb.DuckDBPyConnection", reason: str, now_ns: int) -> Deletion:
        doom = Doom(_OF_DOOMED_CALL, (), reason, now_ns)
        deletion = self._delete_doomed(cursor, doom, Interrupt(), is_chosen_by_feedback=True)
        forget_begun(self._directory)
        return deletion

    def _calls(self, query: Query, interrupt: Interrupt) -> Iterator[list[v1.Record]]:
        """All that match, page by page."""
        after = None
        while True:
            page = self._reading.page(query, after, _PAGE, interrupt)
            if interrupt.is_set:
                raise ArchiveError("ended before all was found; ask again")
            if page.records:
                yield page.records
            after = page.after
            if after is None:
                return

    def _delete_doomed(
        self,
        cursor: "duckdb.DuckDBPyConnection",
        doom: Doom,
        interrupt: Interrupt,
        *,
        is_chosen_by_feedback: bool = False,
    ) -> Deletion:
        spools: dict[bytes, RangeSet] = {}
        records = 0
        # First: of calls that are gone nobody could tell any more what was given to them.
        feedback = 0 if is_chosen_by_feedback else self._delete_feedback()
        for part in self._opened.parts.all:
            if interrupt.is_set:
                raise ArchiveError("ended before all was deleted; ask again")
            with self._suspecting():
                if count_doomed(cursor, part, doom):
                    records += self._rewrite(part, doom, spools)
        feedback += self._delete_feedback()  # given meanwhile
        return Deletion(records, feedback, {spool_id: list(ranges) for spool_id, ranges in spools.items()})

    def _delete_feedback(self) -> int:
        parts = [part.name for part in self._opened.parts.all]
        return self._opened.feedback.delete_doomed(parts, _DOOMED)

    def _rewrite(self, part: Part, doom: Doom, spools: dict[bytes, RangeSet] | None = None) -> int:
        """A file without the records that meet a condition, and with their tombstones; how many they were."""
        self._opened.writing.retire(part)
        self._tell_removal(part, doom.condition, doom.values)
        count = 0
        of_part: dict[bytes, RangeSet] = {}
        for some in victims(self._opened.connection, part, doom, _LOGGED_AT_ONCE):
            deleted = [Deleted(*row, doom.reason) for row in some]
            self._opened.writing.log_deletions(deleted, doom.now_ns)
            for each in deleted:
                of_part.setdefault(each.spool_id, RangeSet()).add(each.sequence, each.sequence)
            count += len(deleted)
        if spools is not None:
            self._opened.kept.forget(of_part)
            for spool_id, ranges in of_part.items():
                for first, last in ranges:
                    spools.setdefault(spool_id, RangeSet()).add(first, last)
        made = rewrite(self._opened.connection, part, doom)
        self._give_way(part, made)
        return count

    # -- by age and size

    def expire(self, retention: Retention, now_ns: int) -> Expired:
        """See Archive."""
        if not self.lock.acquire(blocking=False):  # something is being removed already
            return Expired()
        try:
            with _told():
                self._opened.tend()
                if self._opened.examining.look():
                    return Expired(is_more=True, has_forgotten=True)
                self._expire_feedback(retention, now_ns)
                with self._suspecting():
                    if removed := self._fit_disk(retention) or self._expire_share(retention, now_ns):
                        return removed
                # Last: it may have met with a full disk, and files that go leave room.
                return Expired(is_more=self._end_begun())
        finally:
            self.lock.release()

    @contextlib.contextmanager
    def _suspecting(self) -> Iterator[None]:
        """What is met with in files of records may be damage, which is then looked for before all else."""
        try:
            yield
        except duckdb.Error as error:
            self._opened.examining.suspect(error)
            raise

    def _expire_feedback(self, retention: Retention, now_ns: int) -> None:
        """What is older than any record may be goes, now and then: it is one file that is written anew."""
        age = longest_age(retention)
        if age is None or now_ns - self._feedback_looked_at_ns < min(age, _FEEDBACK_NS):
            return
        self._feedback_looked_at_ns = now_ns
        self._opened.feedback.delete_before(now_ns - age)

    def _fit_disk(self, retention: Retention) -> Expired | None:
        """Drop the earliest file where there is too much on disk."""
        directory = self._directory
        if retention.disk_bytes is None:
            return None
        before = usage_of(directory).disk_bytes
        # What comes in meanwhile: a share of small limits, and a file that is being worked in or rewritten.
        room = retention.disk_bytes // 8 + min(2 * self._opened.parts.part_bytes, retention.disk_bytes // 8)
        if before <= retention.disk_bytes - room:
            return None
        damaged = sorted(directory.glob(f"{PREFIX}*"))
        records = 0
        if damaged:
            damaged[0].unlink()
        elif self._opened.parts.all:
            records = self._drop(self._opened.parts.all[-1])
        else:
            return None
        return Expired(records, max(before - usage_of(directory).disk_bytes, 0), is_more=True)

    def _expire_share(self, retention: Retention, now_ns: int) -> Expired | None:
        """Remove from one file what is over age, or beyond the bytes of its models."""
        if not retention.ages and not retention.sizes:
            return None
        chosen = self._next_share(retention, now_ns)
        if chosen is None:
            return None
        if not self._opened.parts.is_sealed(chosen[0]):
            # More may have come since it was looked at: it is looked at again, now that no more can.
            self._opened.writing.retire(chosen[0])
            looked_at, chosen = chosen[0], self._next_share(retention, now_ns)
            if chosen is None or chosen[0] != looked_at:
                return Expired(is_more=chosen is not None)
        part, models, reason = chosen
        before = part.path.stat().st_size
        if len(models) == len(self._shares_of(part)):
            return Expired(self._drop(part), before, is_more=True)
        count = self._rewrite(part, Doom(_OF_MODELS, (models,), reason, now_ns))
        after = part.next_generation().path.stat().st_size
        return Expired(count, max(before - after, 0), is_more=True)

    def _next_share(self, retention: Retention, now_ns: int) -> tuple[Part, list[str], str] | None:
        shares = {part: self._shares_of(part) for part in self._opened.parts.all}
        return next_share(shares, retention, now_ns)

    def _shares_of(self, part: Part) -> list[Share]:
        """What each model has in a file; of one that is written to as it was a while ago."""
        is_final, now = self._opened.parts.is_sealed(part), time.monotonic()
        known = self._shares.get(part)
        if known is not None and (known.is_final or not (is_final or now > known.looked_at + _LOOK_SECONDS)):
            return known.shares
        with self._opened.connection.cursor() as cursor:
            found = cursor.execute(
                "SELECT model, count(*), sum(record_bytes), max(stored_ns) "  # noqa: S608
                f"FROM {part.name}.records GROUP BY model"
            ).fetchall()
        self._shares[part] = _Look([Share(*row) for row in found], is_final, now)
        return self._shares[part].shares

    def _drop(self, part: Part) -> int:
        """Remove a file, keeping what it had received; how many records it had."""
        self._opened.writing.retire(part)
        self._tell_removal(part, "true", ())
        self.on_drop(part.day, part.name)
        with self._opened.connection.cursor() as cursor:
            row: Any = cursor.execute(f"SELECT count(*) FROM {part.name}.records").fetchone()  # noqa: S608
        self._opened.kept.keep_received(self._opened.writing.received_in(part))
        self._give_way(part, None)
        return int(row[0])

    def _tell_removal(self, part: Part, condition: str, values: Sequence[Any]) -> None:
        with self._opened.connection.cursor() as cursor:
            self.before_removal(
                lambda after, query: count_removed(cursor, part, (condition, values), after, query)
            )

    def _give_way(self, part: Part, by: Part | None) -> None:
        self._opened.writing.follow(part, by)
        self._opened.parts.replace(part, by)
        self._shares.pop(part, None)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What the engine or the disk says is an ArchiveError."""
    try:
        yield
    except duckdb.InterruptException:
        raise ArchiveError("ended; ask again") from None
    except duckdb.Error as error:
        raise ArchiveError(said(error)) from None
    except OSError as error:
        raise ArchiveError(error.strerror or type(error).__name__) from None


def _doom_columns(records: list[v1.Record]) -> list[list[object]]:
    return [
        [record.call_id for record in records],
        [record.spool_id for record in records],
        [record.request_id for record in records],
        [record.tenant for record in records],
    ]
