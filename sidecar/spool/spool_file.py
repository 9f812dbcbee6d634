"""Spool file: the open LMDB file, its transactions, and what happens when it fails.

One writer at a time, readers beside it. Errors of LMDB and the operating system become this room's. After a
failure the file is opened anew before the next write, and before the next reading where that can't go on
(LMDB refuses all work after a failed write of its meta page); one that can't be trusted is set aside and a
new one begun.
"""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import lmdb

from sidecar.spool.books import Books, BooksError
from sidecar.spool.directory import SpoolDirectory
from sidecar.spool.envelope import NO_HASH
from sidecar.spool.errors import SpoolError, SpoolFailed, SpoolFull, UnsoundError
from sidecar.spool.gate import Gate
from sidecar.spool.tables import DATA_FILE, Tables, Transaction, open_tables, require_sound

# The file itself is wrong, as against the disk or the moment.
_UNSOUND: Final = (
    lmdb.CorruptedError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.PageNotFoundError,
    lmdb.IncompatibleError,
    BooksError,
    UnsoundError,
)
# LMDB refuses all further work; or the root of a table can't be read, which opening will tell.
_UNREADABLE: Final = (lmdb.PanicError, lmdb.BadTxnError)
_UNSOUND_AT_OPENING: Final = (*_UNSOUND, lmdb.BadTxnError)


class SpoolFile:
    """The file. Safe to use from any thread."""

    def __init__(self, directory: SpoolDirectory, quota_bytes: int) -> None:
        """Open or make the file in a directory that is owned; raises SpoolFailed."""
        self._directory = directory
        self._quota_bytes = quota_bytes
        self._gate = Gate()
        self._write_lock = threading.RLock()
        # None: closed, or could not be opened again.
        self._tables: Tables | None = None
        self._closed = False
        # To be opened anew before the next write; `_unreadable`: and before the next reading, too.
        self._failed = False
        self._unreadable = False
        self._unsound = ""
        # The last books that were read to be changed.
        self.books = Books(b"")
        if not directory.begin_use():
            self._set_aside_unless_sound()
        self._open()

    def close(self) -> None:
        """Close; harmless when closed."""
        with self._write_lock, self._gate.exclusive():
            self._closed = True
            if self._tables is not None:
                self._tables.env.close()
                self._tables = None
                self._directory.trust()
            self._directory.release()

    @contextmanager
    def writer(self) -> Iterator[None]:
        """Nobody else writes meanwhile, over several transactions."""
        with self._write_lock:
            yield

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A snapshot; waits for a writer only where the file failed. Keep it short. Raises SpoolFailed."""
        if self._unreadable:
            with self._write_lock:
                self._reopen()
        with self._gate.shared(), self._translated(), self._open_tables().reading() as txn:
            yield txn

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """A transaction, durable when the block has ended well; raises SpoolFull, SpoolFailed."""
        with self._write_lock:
            self._reopen()
            with self._gate.shared(), self._translated():
                with self._open_tables().writing() as txn:
                    yield txn
                self.books = txn.books

    def check_readers(self) -> int:
        """Free the slots of readers that died; returns how many there were."""
        with self._gate.shared():
            return 0 if self._tables is None else self._tables.env.reader_check()

    def is_committed(self, sequence: int) -> bool:
        """After a failed commit: open anew, and see whether `sequence` was appended durably after all."""
        try:
            with self.writing() as txn:
                txn.tables.env.sync(True)
                return txn.books.next_sequence > sequence
        except SpoolError:
            return False

    def _open_tables(self) -> Tables:
        if self._tables is None:
            raise SpoolFailed("the spool is closed")
        return self._tables

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except lmdb.MapFullError:
            raise SpoolFull(
                "no free page in the spool's file: a reader that does not end holds them"
            ) from None
        except _UNSOUND as error:
            self._failed = self._unreadable = True
            self._unsound = str(error)
            raise SpoolFailed(f"spool: {error}") from None
        except (lmdb.Error, OSError) as error:
            self._failed = True
            self._unreadable = self._unreadable or isinstance(error, _UNREADABLE)
            raise SpoolFailed(f"spool: {error}") from None

    def _reopen(self) -> None:
        """Open anew after a failure; the caller holds the write lock. Raises SpoolFailed."""
        if not self._failed or self._closed:
            return
        with self._gate.exclusive():
            # Until it is open again there is nothing to read.
            self._unreadable = True
            if self._tables is not None:
                self._tables.env.close()
                self._tables = None
            if self._unsound:
                try:
                    self._directory.set_aside(DATA_FILE, self._unsound)
                except OSError as error:
                    raise SpoolFailed(f"spool in {self._directory.path}: {error}") from None
                self._unsound = ""
            self._open()
            self._failed = self._unreadable = False

    def _open(self) -> None:
        try:
            try:
                self._tables, self.books = self._try_file_twice()
            except _UNSOUND_AT_OPENING as error:
                self._directory.set_aside(DATA_FILE, str(error))
                self._tables, self.books = self._try_file()
        except (lmdb.Error, BooksError, UnsoundError, OSError) as error:
            raise SpoolFailed(f"spool in {self._directory.path}: {error}") from None

    def _try_file_twice(self) -> tuple[Tables, Books]:
        """A disk that misreads once must not cost what is unsent: to LMDB, a short read is no LMDB file."""
        try:
            return self._try_file()
        except _UNSOUND_AT_OPENING:
            return self._try_file()

    def _try_file(self) -> tuple[Tables, Books]:
        tables = open_tables(self._directory.path, self._quota_bytes)
        try:
            tables.start_books(_books_of_successor(self.books))
            with tables.reading() as txn:
                txn.live_bytes()  # looks at the root of every table
                return tables, txn.books
        except BaseException:
            tables.env.close()
            raise

    def _set_aside_unless_sound(self) -> None:
        file = self._directory.path / DATA_FILE
        try:
            if file.exists():
                require_sound(file)
        except UnsoundError as error:
            self._directory.set_aside(DATA_FILE, str(error))


def _books_of_successor(last: Books) -> Books:
    """Books for a new file: the account goes on; what was pending in a file set aside is corrupt."""
    return replace(
        last,
        spool_id=secrets.token_bytes(16),
        next_sequence=1,
        head_hash=NO_HASH,
        pending=0,
        corrupt=last.corrupt + last.pending,
    )
