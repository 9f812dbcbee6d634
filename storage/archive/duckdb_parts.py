"""Parts: the files of records of the DuckDB engine, which are attached, and which one is written to.

    ARCHIVE/records-2026-11-21-0001.0.duckdb     day on which its records came in, number, generation
    ARCHIVE/records-2026-11-21.duckdb            as version 1 called it: number 0, generation 0

A day has as many as its bytes ask for. A file that is rewritten (records deleted, an older schema) gets the
next generation: once that has its name the earlier one is void, and is removed at the next start if not
before. Two files of today are written to by turns: while the log of one is worked into it, commits go to
the other (docs/decisions/0018). All others are never written again: who wants one changed rewrites it.

Who reads does so within `reading`: a file that is dropped meanwhile stays readable until the last one ends.
"""

import contextlib
import dataclasses
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import duckdb

from storage.archive.duckdb_checkpoints import Checkpoints
from storage.archive.duckdb_extents import Extents
from storage.archive.duckdb_files import attach, make_file, remove, size_of, wal_bytes
from storage.archive.duckdb_schema import CREATE

_FILE: Final = re.compile(r"records-(\d{4}-\d\d-\d\d)(?:-(\d{4,9})\.(\d{1,9}))?\.duckdb")
# The log of a file is worked into it when it is this long: it is replayed at a start, and in memory until
# then; or when it and what it names are that much, which would be lost with it.
_TURN_BYTES: Final = 16 << 20
_TURN_GROWN_BYTES: Final = 64 << 20
# Where a disk is too slow for that, each commit waits a little for the other file's log: from an eighth of
# this on, the longer the log the longer, up to _PACE_SECONDS. So senders slow down, and none is stopped. At
# this length no commit is taken.
_MOST_LOG_BYTES: Final = 256 << 20
_PACE_SECONDS: Final = 0.25
_WAIT_SECONDS: Final = 60.0
# With every so many files those to come get larger: each costs every query some time, and memory.
_FEW_PARTS: Final = 50


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Part:
    """One file of records; ordered by when it was begun."""

    # "2026-11-21"
    day: str
    number: int
    generation: int
    path: Path

    @property
    def name(self) -> str:
        """What it is attached as."""
        return f"day_{self.day.replace('-', '_')}_{self.number}_{self.generation}"

    @classmethod
    def of(cls, path: Path) -> "Part | None":
        """What the file's name says; None for other files."""
        match = _FILE.fullmatch(path.name)
        return match and cls(match[1], int(match[2] or 0), int(match[3] or 0), path)

    def next_generation(self) -> "Part":
        """What takes its place."""
        return _part(self.path.parent, self.day, self.number, self.generation + 1)


def _part(directory: Path, day: str, number: int, generation: int) -> Part:
    path = directory / f"records-{day}-{number:04d}.{generation}.duckdb"
    return Part(day, number, generation, path)


class _Sight:
    """The parts as they were when readers began."""

    def __init__(self, parts: tuple[Part, ...]) -> None:
        self.parts = parts
        self.readers = 0


class Parts:
    """The attached files. `filling` and `stop_filling` are the writer's, all else anybody's."""

    def __init__(
        self, connection: "duckdb.DuckDBPyConnection", directory: Path, part_bytes: int, work: Checkpoints
    ) -> None:
        """`part_bytes`: how large a file gets, about; where it is little, logs are worked in earlier."""
        self.directory = directory
        self._connection = connection
        self.part_bytes = part_bytes
        self.extents = Extents()
        self._turn_bytes = min(_TURN_BYTES, part_bytes)
        self._turn_grown_bytes = min(_TURN_GROWN_BYTES, part_bytes)
        self._most_log_bytes = min(_MOST_LOG_BYTES, part_bytes)
        self._checkpoints = work
        # Guards what follows, never for long.
        self._lock = threading.RLock()
        self._sight = _Sight(())
        self._earlier: list[_Sight] = []
        self._dropped: list[tuple[Part, Callable[[], None]]] = []
        # Those written to by turns, the first of them now; all of one day.
        self._live: list[Part] = []
        # The first of them, and how large it was when it became that.
        self._turned_to: tuple[Part | None, int] = (None, 0)
        # Never again.
        self._sealed: set[Part] = set()
        # The highest number of each day; none is given twice, for a file that was dropped may still be read.
        self._numbers: dict[str, int] = {}

    # -- which there are

    @property
    def all(self) -> tuple[Part, ...]:
        """Newest first."""
        return self._sight.parts

    @contextlib.contextmanager
    def reading(self) -> "Iterator[tuple[Part, ...]]":
        """The parts, newest first, which stay attached for as long."""
        with self._lock:
            sight = self._sight
            sight.readers += 1
        try:
            yield sight.parts
        finally:
            with self._lock:
                sight.readers -= 1
                self._let_go()

    def attach(self, part: Part) -> None:
        """Take up a file that is there. Raises duckdb.Error."""
        with self._connection.cursor() as cursor:
            attach(cursor, part.path, part.name)
        with self._lock:
            self._numbers[part.day] = max(part.number, self._numbers.get(part.day, 0))
            self._see((*self.all, part))

    def replace(self, part: Part, by: Part | None) -> None:
        """Readers from now on see `by`, which is a whole file, in its place; the file is removed. Raises
        duckdb.Error and OSError.
        """
        if by is not None:
            with self._connection.cursor() as cursor:
                attach(cursor, by.path, by.name)
        self._drop(part, by, lambda: remove(part.path))

    def set_aside(self, part: Part, put_away: Callable[[], None]) -> None:
        """Readers from now on don't see it; `put_away` is called once none is left."""
        self._drop(part, None, put_away)

    def _drop(self, part: Part, by: Part | None, afterwards: Callable[[], None]) -> None:
        with self._lock:
            kept = [each for each in self.all if each != part]
            self._dropped.append((part, afterwards))
            self._live = [each for each in self._live if each != part]
            self._sealed.discard(part)
            self._see((*kept, by) if by else tuple(kept))

    def _see(self, parts: tuple[Part, ...]) -> None:
        self._earlier.append(self._sight)
        self._sight = _Sight(tuple(sorted(parts, reverse=True)))
        self._let_go()

    def _let_go(self) -> None:
        """Detach what nobody reads any more."""
        self._earlier = [sight for sight in self._earlier if sight.readers]
        held = {part for sight in self._earlier for part in sight.parts}
        for part, afterwards in [each for each in self._dropped if each[0] not in held]:
            self._dropped.remove((part, afterwards))
            self._detach(part)
            self.extents.forget(part.name)
            afterwards()

    def _detach(self, part: Part) -> None:
        """Raises duckdb.Error where it is still attached."""
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(f"DETACH DATABASE IF EXISTS {part.name}")
            except duckdb.Error:
                # Its log could not be worked into a damaged file; the engine lets it go all the same.
                there = "SELECT count(*) FROM duckdb_databases() WHERE database_name = ?"
                row: Any = cursor.execute(there, [part.name]).fetchone()
                if row[0]:
                    raise

    # -- which is written to

    def filling(self, day: str) -> Part:
        """The file that records of `day` go to now, made where there is none. Raises duckdb.Error and
        OSError.
        """
        self._keep_pace()
        self._checkpoints.mend()
        with self._lock:
            if self._live and self._live[0].day != day:
                self._seal_others(day)
            self._live = [part for part in self._live if self._is_usable(part)]
            if not self._live:
                self._live = [part for part in self.all if part.day == day and self._has_room(part)][:2]
            if not self._live:
                self._live.append(self._make(day))
            elif self._is_due(self._live[0]):
                self._take_turns(self._live[0])
            return self._live[0]

    def _keep_pace(self) -> None:
        """Where the log gets long, wait a little for the other's to be worked in."""
        live = self._live
        if len(live) < 2 or not self._checkpoints.is_under_way(live[1].name):
            return
        length, least = wal_bytes(live[0].path), self._most_log_bytes // 8
        if length >= self._most_log_bytes:
            self._checkpoints.wait(live[1].name, _WAIT_SECONDS)
        elif length > least:
            share = (length - least) / (self._most_log_bytes - least)
            self._checkpoints.wait(live[1].name, share * _PACE_SECONDS)

    def _is_due(self, part: Part) -> bool:
        """Whether its log is to be worked in, or it is full."""
        size, log = size_of(part.path), wal_bytes(part.path)
        if self._turned_to[0] != part:
            self._turned_to = part, size
        grown = size - self._turned_to[1] + log
        return log >= self._turn_bytes or grown >= self._turn_grown_bytes or not self._has_room(part)

    def _take_turns(self, part: Part) -> None:
        others = [each for each in self._live if each != part]
        if others and self._checkpoints.is_under_way(others[0].name):
            return
        others = [each for each in others if self._has_room(each)]
        try:
            self._live = [*(others or [self._make(part.day)]), *([part] if self._has_room(part) else [])]
        except (duckdb.Error, OSError):
            if wal_bytes(part.path) >= self._most_log_bytes:
                raise
            return  # there is room in this one's log meanwhile
        self._checkpoints.begin(part.name, part.path)

    def stop_filling(self, part: Part) -> None:
        """Never write to it again; the writer's to call, as `filling` is."""
        with self._lock:
            self._live = [each for each in self._live if each != part]
            self._sealed.add(part)

    def settle(self, part: Part) -> None:
        """On return all that it has is in its file. Raises ArchiveError."""
        if wal_bytes(part.path):
            self._checkpoints.make(part.name, part.path)

    def is_sealed(self, part: Part) -> bool:
        """Whether it is never written to again."""
        return part in self._sealed

    def tend(self) -> None:
        """Work the logs of files that are not written to into them."""
        with self._lock:
            resting = [part for part in self.all if part not in self._live and wal_bytes(part.path)]
        self._checkpoints.mend()
        for part in resting:
            self._checkpoints.begin(part.name, part.path)

    def _seal_others(self, day: str) -> None:
        """A day is over."""
        for part in self._live:
            self._checkpoints.begin(part.name, part.path)
        self._live = []
        self._sealed |= {part for part in self.all if part.day != day}

    def _has_room(self, part: Part) -> bool:
        is_open = part not in self._sealed and self._is_usable(part)
        grown = 1 + len(self.all) // _FEW_PARTS
        return is_open and size_of(part.path) < self.part_bytes * grown

    def _is_usable(self, part: Part) -> bool:
        return not self._checkpoints.is_broken(part.name)

    def _make(self, day: str) -> Part:
        part = _part(self.directory, day, self._numbers.get(day, 0) + 1, 0)
        with self._connection.cursor() as cursor:
            make_file(cursor, part.path, CREATE)
        self.attach(part)
        return part


def parts_in(directory: Path) -> tuple[list[Part], list[Part]]:
    """The parts whose files are there, and those that a later generation has made void."""
    latest: dict[tuple[str, int], Part] = {}
    void: list[Part] = []
    for part in sorted(filter(None, map(Part.of, directory.iterdir()))):
        before = latest.get((part.day, part.number))
        void += [before] if before else []
        latest[part.day, part.number] = part
    return list(latest.values()), void
