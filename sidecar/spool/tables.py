"""Tables: the LMDB file and what lies in it.

One environment, six tables; u64 is 8 bytes big-endian, so that keys sort as numbers do.

    table  key                         value
    rows   sequence u64 ‖ chunk u16    a chunk of the envelope and its record (see `envelope`)
    keys   lookup key 16 ‖ sequence    nothing; finds the sequences of a call
    acked  first u64                   last u64: sequences that storage has (see `range_table`)
    gaps   first u64                   last u64 ‖ hash length u8 ‖ hash ‖ reason, ASCII (see `gap_table`)
    dead   sequence u64                reason, UTF-8: storage refused the record
    meta   "books"                     the numbers (see `books`)
           "note:" ‖ name              what the caller wants written together with its records

A sequence below the next one is exactly one of: a row (pending, acked or dead), part of a gap, or gone: acked
and evicted, or expired. `acked` may also hold sequences of gaps that storage has.

Why LMDB as it is: synced commits (metasync and sync on), never writemap (a full disk or a cut file would be
SIGBUS, and stray writes would reach the file), meminit on (no stale heap on the disk), map_size = quota,
which the file never exceeds.
"""

import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import lmdb
from lmdb.verify import VerifyError, verify

from sidecar.spool.books import Books
from sidecar.spool.envelope import HEAD_BYTES
from sidecar.spool.errors import UnsoundError
from sidecar.spool.gap_table import GapTable
from sidecar.spool.range_table import RangeTable

DATA_FILE: Final = "data.mdb"
_TABLES: Final = ("rows", "keys", "acked", "gaps", "dead", "meta")
_BOOKS: Final = b"books"
_NOTE: Final = b"note:"
# struct page header of LMDB 0.9, at the start of an overflow page (mdb.c, PAGEHDRSZ).
_PAGE_HEADER_BYTES: Final = 16
# What a chunk and its record's lookup entry take in pages that are shared, at most.
_NODE_BYTES: Final = 128


@dataclass(frozen=True, slots=True)
class Tables:
    """An open file."""

    env: lmdb.Environment
    handles: "dict[str, lmdb._Database]"
    page_bytes: int

    @property
    def chunk_bytes(self) -> int:
        """The longest value that fits into one page of its own."""
        return self.page_bytes - _PAGE_HEADER_BYTES

    @contextmanager
    def reading(self) -> "Iterator[Transaction]":
        """A snapshot; keep it short, for it keeps freed pages from being used again."""
        with self.env.begin() as txn:
            yield Transaction(self, txn)

    @contextmanager
    def writing(self) -> "Iterator[Transaction]":
        """Commits, synced, when the block ends well."""
        with self.env.begin(write=True) as txn:
            transaction = Transaction(self, txn)
            yield transaction
            transaction.keep_books()

    def start_books(self, books: Books) -> None:
        """Write the first books if the file is new; a file with rows and no books is not."""
        with self.env.begin(write=True) as txn:
            if not any(txn.stat(self.handles[name])["entries"] for name in ("meta", "rows")):
                txn.put(_BOOKS, books.pack(), db=self.handles["meta"])

    def bytes_for(self, record_bytes: int) -> int:
        """Bytes of pages that a record will take, with its share of the pages that point to them."""
        chunks = (HEAD_BYTES + record_bytes) // self.chunk_bytes + 1
        return chunks * (self.page_bytes + _NODE_BYTES)

    def file_bytes(self) -> int:
        """How long the file is, or is about to be: pages were given out up to there."""
        return (int(self.env.info()["last_pgno"]) + 1) * self.page_bytes


def open_tables(directory: Path, quota_bytes: int) -> Tables:
    """Open the file in `directory`, or make it; raises lmdb.Error, UnsoundError."""
    env = lmdb.open(
        str(directory),
        map_size=quota_bytes // mmap.PAGESIZE * mmap.PAGESIZE,
        max_dbs=len(_TABLES),
        mode=0o600,
        metasync=True,
        sync=True,
        writemap=False,
        meminit=True,
    )
    try:
        _require_whole(env, directory / DATA_FILE)
        handles = {name: env.open_db(name.encode()) for name in _TABLES}
        return Tables(env, handles, int(env.stat()["psize"]))
    except BaseException:
        env.close()
        raise


def _require_whole(env: lmdb.Environment, file: Path) -> None:
    """Refuse a file that was cut: touching a page beyond its end would be SIGBUS.

    A sound file may lack the last pages it gave out, when they were freed again before their commit; the
    offline check, which reads the file without the engine, knows the difference.
    """
    if file.stat().st_size < (int(env.info()["last_pgno"]) + 1) * int(env.stat()["psize"]):
        require_sound(file)


def require_sound(file: Path) -> None:
    """Check the structure of a file at rest, some seconds for a GiB; raises UnsoundError."""
    try:
        problems = verify(str(file))  # type: ignore[no-untyped-call]
    except VerifyError as error:
        raise UnsoundError(str(error)) from None
    if problems:
        raise UnsoundError(problems[0])


class Transaction:
    """One LMDB transaction, with the books it has read and the tables by name."""

    def __init__(self, tables: Tables, txn: "lmdb.Transaction[bytes]") -> None:
        """Raises BooksError where the books can't be read."""
        self.tables = tables
        self.txn = txn
        self._books_as_read = self.get("meta", _BOOKS)
        self.books = Books.unpack(self._books_as_read)
        self.acked = RangeTable(self.cursor("acked"))
        self.gaps = GapTable(self.cursor("gaps"))

    def cursor(self, table: str) -> "lmdb.Cursor[bytes]":
        """A new cursor on a table."""
        return self.txn.cursor(self.tables.handles[table])

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value of a key."""
        return self.txn.get(key, db=self.tables.handles[table])

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Set the value of a key."""
        self.txn.put(key, value, db=self.tables.handles[table])

    def delete(self, table: str, key: bytes) -> bool:
        """Remove a key; False if it was not there."""
        return self.txn.delete(key, db=self.tables.handles[table])

    def entries(self, table: str) -> int:
        """How many keys a table has."""
        return int(self.txn.stat(self.tables.handles[table])["entries"])

    def live_bytes(self) -> int:
        """Bytes of all pages in use, from the tables' own counts: no scan."""
        pages = 0
        for handle in self.tables.handles.values():
            stat = self.txn.stat(handle)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return pages * self.tables.page_bytes

    def keep_books(self) -> None:
        """Write the books back, if they changed."""
        packed = self.books.pack()
        if packed != self._books_as_read:
            self.put("meta", _BOOKS, packed)

    def put_notes(self, notes: Mapping[bytes, bytes]) -> None:
        """Set notes; an empty value deletes one."""
        for name, value in notes.items():
            if value:
                self.put("meta", _NOTE + name, value)
            else:
                self.delete("meta", _NOTE + name)

    def notes(self) -> dict[bytes, bytes]:
        """All notes."""
        cursor = self.cursor("meta")
        found: dict[bytes, bytes] = {}
        cursor.set_range(_NOTE)
        for name, value in cursor.iternext():
            if not name.startswith(_NOTE):
                break
            found[name[len(_NOTE) :]] = value
        return found
