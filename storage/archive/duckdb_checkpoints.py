"""Checkpoints: a file's log is worked into the file, beside the commits. Touches the engine, in one thread.

The engine lets no commit into a file while it does so, which takes seconds. So it is done to files that are
not written to at the time, or that nobody's ack waits for.
"""

import contextlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import duckdb

from storage.archive.duckdb_files import attach, said
from storage.archive.interface import ArchiveError

_GIVEN_UP: Final = "has been invalidated"


class Checkpoints:
    """Makes them one after the other."""

    def __init__(self, connection: "duckdb.DuckDBPyConnection") -> None:
        self._engine = connection
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[None]] = {}
        # Attached files that can't be used until they are attached again.
        self._broken: dict[str, Path] = {}

    def begin(self, name: str, path: Path) -> "Future[None]":
        """Work the log of that attached file into it, soon. What fails is done again when asked again."""
        with self._lock:
            known = self._under_way.get(name)
            if known is not None and not known.done():
                return known
            begun = self._under_way[name] = self._thread.submit(self._work, name, path)
            return begun

    def make(self, name: str, path: Path) -> None:
        """The same; done on return. Raises ArchiveError."""
        try:
            self.begin(name, path).result()
        except duckdb.Error as error:
            raise ArchiveError(said(error)) from None

    def is_under_way(self, name: str) -> bool:
        """Whether it is being done, or about to."""
        begun = self._under_way.get(name)
        return begun is not None and not begun.done()

    def is_broken(self, name: str) -> bool:
        """Whether it failed, so that the file can't be used."""
        return name in self._broken

    def mend(self) -> None:
        """Attach again what can't be used: nothing is lost, for its log is still there."""
        with self._lock:
            for name, path in list(self._broken.items()):
                if not path.exists():  # attaching would make it
                    del self._broken[name]
                    continue
                with contextlib.suppress(duckdb.Error), self._engine.cursor() as cursor:
                    cursor.execute(f"DETACH DATABASE IF EXISTS {name}")
                    attach(cursor, path, name)
                    del self._broken[name]

    def wait(self, name: str, seconds: float) -> None:
        """Until it is done, or for so long."""
        begun = self._under_way.get(name)
        if begun is not None:
            with contextlib.suppress(TimeoutError):
                begun.exception(seconds)

    def close(self) -> None:
        """End; what is under way is finished, what waits is left to the next start."""
        self._thread.shutdown(cancel_futures=True)

    def _work(self, name: str, path: Path) -> None:
        with self._engine.cursor() as cursor:
            try:
                cursor.execute(f"CHECKPOINT {name}")
            except duckdb.Error:
                if _is_given_up(cursor, name):
                    with self._lock:
                        self._broken[name] = path
                raise


def _is_given_up(cursor: "duckdb.DuckDBPyConnection", name: str) -> bool:
    """Whether the engine uses that file no more until it is attached again, as when the disk is full. Else
    somebody wrote to it just then, or it has been dropped meanwhile.
    """
    try:
        cursor.execute(f"SELECT * FROM {name}.main.schema LIMIT 0")  # noqa: S608
    except duckdb.Error as error:
        return _GIVEN_UP in str(error)
    return False
