"""Interface: what storage asks of an engine. One contract test suite holds every engine to it."""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

from infertap import v1
from infertap.query import Query, StatsQuery
from storage.archive.entries import Arrival, Entry, FeedbackPage, Page, Position, RecordEntry, Stored
from storage.archive.ranges import Range
from storage.archive.removals import Damage, Deletion, Expired, Matched, Retention, SnapshotFile, Usage

# Of what is about to be removed: how many were stored after a place, and match a query but for its text.
CountRemoved: TypeAlias = Callable[[Arrival, Query], int]


class ArchiveError(Exception):
    """The archive can't do what was asked now: a full disk, a damaged file. Never holds payload."""


class UnreachableError(ArchiveError):
    """Nobody answers where the archive is, which may be otherwise in a moment."""


class Interrupt:
    """Ends a query from another thread, inside the engine too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = False
        self._act: Callable[[], object] | None = None

    @property
    def is_set(self) -> bool:
        """Whether the query should end."""
        return self._is_set

    def set(self) -> None:
        """End the query."""
        with self._lock:
            self._is_set = True
            if self._act is not None:
                self._act()

    def during(self, act: Callable[[], object] | None) -> None:
        """`act` is what ends the engine's work from now on; None when there is none under way."""
        with self._lock:
            self._act = act
            if act is not None and self._is_set:
                act()


class Archive(Protocol):
    """Keeps records; each (spool id, sequence) once, for ever. Each belongs to a tenant, as its entry says.

    `tenant` as an argument, or of a query, is whose records and feedback are seen: None for all, "" for those
    of nobody, as where storage knows no identities.
    """

    def received(self, spool_id: bytes) -> list[Range]:
        """Sequences of that spool that need not be sent: records, gaps and what was deleted or has expired;
        ascending and disjoint. Survives everything but a damaged file.
        """

    def append(self, entries: Sequence[Entry], stored_ns: int) -> list[RecordEntry]:
        """Keep `entries`, all or none; durable on return. Returns the records that are new.

        What was received before is passed over, but for a record whose sequence was only known as a gap: it
        is kept. A record of a user whose records were deleted on request, and that began before that, is kept
        as a tombstone only; it is not returned. Leaves of the audit's logs are written with them (see
        Archive.leaves). Raises ArchiveError.
        """

    def get(
        self, call_id: str, tenant: str | None = None, interrupt: Interrupt | None = None
    ) -> v1.Record | None:
        """The record of a call, its segments joined, as it is served. Raises ArchiveError."""

    def row(self, record: v1.Record, interrupt: Interrupt | None = None) -> v1.Record | None:
        """What stands in lists for the call of `record`, which is here: its segments joined where that is the
        latest of them; None where another one stands for it. Raises ArchiveError.
        """

    def page(self, query: Query, after: Position | None, size: int, interrupt: Interrupt) -> Page:
        """At most `size` records that match, in the query's order, that stand after `after`; one for each
        call. With `query.as_of_ns` set pages are as things were then, so that a list is the same however
        slowly it is read.

        A query that is interrupted, or that found few among very many, gives a shorter page; only
        `Page.after` None means the end. Raises ArchiveError, also where it came nowhere.
        """

    def count(self, query: Query, interrupt: Interrupt) -> int:
        """How many records `page` has for `query` in all, but for its text, which is not looked for. Raises
        ArchiveError.
        """

    def stats(self, asked: StatsQuery, interrupt: Interrupt) -> v1.GetStatsResponse:
        """Figures for each combination that occurs, those with the most calls first; a call in segments
        counts once. Nothing but columns is read. Raises ArchiveError.
        """

    def attach(self, given: Sequence[v1.Feedback]) -> list[bool]:
        """Keep feedback, all or none; durable on return. Whether each was new: what has an id that its tenant
        gave already is passed over. Each has an id, a subject, `received_at` and `tenant`, and is joined to
        records of that tenant only. Raises ArchiveError.
        """

    def feedback(
        self,
        call_id: str,
        request_id: str,
        below: int | None,
        size: int,
        *,
        tenant: str | None = None,
        interrupt: Interrupt | None = None,
    ) -> FeedbackPage:
        """At most `size` pieces of feedback given by that call id or by that request id, all where both are
        empty; latest received first, those numbered below `below`. Raises ArchiveError.
        """

    def join_feedback(
        self, records: Sequence[v1.Record], most_bytes: int, interrupt: Interrupt | None = None
    ) -> None:
        """Set `feedback` (latest first, `most_bytes` over all records) and `feedback_count` of each record:
        what its `tenant` gave. Raises ArchiveError.
        """

    def calls_of(
        self,
        request_ids: Collection[str],
        most: int,
        tenant: str | None = None,
        interrupt: Interrupt | None = None,
    ) -> dict[str, list[str]]:
        """Of each request id the ids of at most so many calls recorded with it, latest first. Raises
        ArchiveError.
        """

    def arrivals(self, after: Arrival, most: int, most_bytes: int, interrupt: Interrupt) -> list[Stored]:
        """Records that were stored after `after`, in order of storing: at most so many, and so many bytes but
        one at least; each segment of a call by itself. Nothing that another might yet come before: where
        several processes store, what was stored just now is held back. Raises ArchiveError.
        """

    def latest_arrival(self) -> Arrival:
        """Behind all that `arrivals` tells now, and before what it will tell. Raises ArchiveError."""

    def waiting(self, after: Arrival, interrupt: Interrupt) -> int:
        """How many records were stored after `after`. Raises ArchiveError."""

    def on_removal(self, told: Callable[[CountRemoved], object]) -> None:
        """Have `told` called before records are removed, on request or by retention, with what counts those
        of them that were stored after a place and match a query. What it raises ends the removal.
        """

    def on_forgotten(self, told: Callable[[Mapping[bytes, Sequence[Range]]], object]) -> None:
        """Have `told` called, from any thread, with the sequences of each spool that are deleted on request,
        once that is noted: by `delete`, also where it is ended half way, and by `append` of what comes after
        the request. A SharedArchive tells nobody: see `deleted_since`.
        """

    def matched(self, query: Query, interrupt: Interrupt) -> Matched:
        """What `delete` would delete. Raises ArchiveError."""

    def delete(self, query: Query, reason: str, now_ns: int, interrupt: Interrupt) -> Deletion:
        """Delete every record that matches, of every segment of its call, and the feedback given by its call
        id, or by its request id where no other call has it. Gone from disk on return; what stays are
        tombstones. In bounded steps: no append waits for more than a second, and what an interrupt leaves is
        deleted by asking again. Raises ArchiveError.

        A query that says a user, and nothing else but a tenant, is kept: see `append`.
        """

    def forgotten(self, spool_id: bytes) -> list[Range]:
        """Sequences of that spool that were deleted on request, ascending and disjoint."""

    def expire(self, retention: Retention, now_ns: int) -> Expired:
        """One bounded step of what `retention` asks for; no append waits for more than a second. What has
        expired stays received. Raises ArchiveError.
        """

    def usage(self) -> Usage:
        """What is on disk now. Raises ArchiveError."""

    def damages(self) -> list[Damage]:
        """Files that were set aside, the latest found first. What they had received was forgotten with them,
        so that spools send again what they retain and declare gaps for the rest.
        """

    def snapshot(self) -> AbstractContextManager[Sequence[SnapshotFile]]:
        """Files that together are the archive as it is at one moment, unchanged while the context lasts;
        appends go on meanwhile. Raises ArchiveError, also where an engine has a way of its own.
        """

    def close(self) -> None:
        """Close; harmless when closed."""
