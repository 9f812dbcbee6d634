"""Checkpoints: a file's log is worked into the file, beside the commits. Touches the engine, in one thread.

The engine lets no commit into a file while it does so, which takes seconds. So it is done to files that are
not written to at the time, or that nobody's ack waits for.
"""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import duckdb

from storage.archive.duckdb_files import said
from storage.archive.interface import ArchiveError


class Checkpoints:
    """Makes them one after the other."""

    def __init__(self, connection: "duckdb.DuckDBPyConnection") -> None:
        self._connection = connection.cursor()
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[None]] = {}

    def begin(self, name: str) -> "Future[None]":
        """Work the log of that attached file into it, soon. What fails is done again when asked again."""
        with self._lock:
            known = self._under_way.get(name)
            if known is not None and not known.done():
                return known
            begun = self._under_way[name] = self._thread.submit(self._work, name)
            return begun

    def make(self, name: str) -> None:
        """The same; done on return. Raises ArchiveError."""
        try:
            self.begin(name).result()
        except duckdb.Error as error:
            raise ArchiveError(said(error)) from None

    def is_under_way(self, name: str) -> bool:
        """Whether it is being done, or about to."""
        begun = self._under_way.get(name)
        return begun is not None and not begun.done()

    def wait(self, name: str, seconds: float) -> None:
        """Until it is done, or for so long."""
        begun = self._under_way.get(name)
        if begun is not None:
            begun.exception(seconds)

    def close(self) -> None:
        """End; what is under way is finished, what waits is left to the next start."""
        self._thread.shutdown(cancel_futures=True)
        self._connection.close()

    def _work(self, name: str) -> None:
        self._connection.execute(f"CHECKPOINT {name}")
