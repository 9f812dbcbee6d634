"""Spool: the room's one object. Threads, transactions, quota, and what happens when the disk fails.

What lies in the file is drawn in `tables`, `envelope` and `books`; what moves records between counts is in
`settlement` and `eviction`. Here: one writer at a time, readers beside it, errors of LMDB translated, and the file
opened anew after a failure.
"""

import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import lmdb

from sidecar.event_log import log_event
from sidecar.spool import eviction, rows, settlement
from sidecar.spool.books import Books, BooksError
from sidecar.spool.directory import SpoolDirectory
from sidecar.spool.entries import Gap, SpoolAccount, Spooled
from sidecar.spool.envelope import HEAD_BYTES, KEY_BYTES, SALT_BYTES, DamagedError, seal
from sidecar.spool.errors import SpoolError, SpoolFailed, SpoolForked, SpoolFull
from sidecar.spool.gate import Gate
from sidecar.spool.range_table import U64
from sidecar.spool.ranges import Range
from sidecar.spool.tables import DATA_FILE, Tables, Transaction, UnsoundError, open_tables, require_sound

# Pages in use stay below this share of the quota; the rest is for pages that wait to be used again.
_FILL: Final = 0.8
# A full map although pages are free: a reader holds them. Evict for its sake no further than to this share.
_SQUEEZE: Final = 0.5
_SQUEEZES_WITHOUT_EVICTION: Final = 3
# Bytes that one list of records holds at most, and at least one record.
_LIST_BYTES: Final = 4 << 20
# After so long the file has shown that it can be used.
_TRUST_SECONDS: Final = 60.0
_NO_NOTES: Final[Mapping[bytes, bytes]] = MappingProxyType({})
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


class Spool:
    """The ring. Safe to use from any thread; every call may block on the disk."""

    def __init__(self, directory: SpoolDirectory, quota_bytes: int, ring: bool) -> None:
        """Use `open`."""
        self._directory = directory
        self._quota_bytes = quota_bytes
        self._ring = ring
        self._gate = Gate()
        self._write_lock = threading.RLock()
        self._opened_at = time.monotonic()
        # None: closed, or could not be opened again. `_failed`: open anew before the next write.
        self._tables: Tables | None = None
        self._failed = False
        self._unsound = ""
        # The last books that were read or committed.
        self._books = Books(secrets.token_bytes(16))

    @classmethod
    def open(cls, directory: Path, quota_bytes: int, ring: bool) -> "Spool":
        """Open or make the spool in `directory`; with `ring`, there is no storage and the oldest expire.

        A file that can't be trusted, or of another format, is set aside and a new spool started. Raises
        SpoolLocked where another process uses the directory, SpoolFailed where it can't be used.
        """
        owned = SpoolDirectory.claim(directory)
        spool = cls(owned, quota_bytes, ring)
        try:
            if not owned.begin_use():
                spool._set_aside_unless_sound()
            spool._open_file()
            spool.check_readers()
        except OSError as error:
            owned.release()
            raise SpoolFailed(f"spool directory {directory}: {error.strerror}") from None
        except SpoolError:
            owned.release()
            raise
        return spool

    def close(self) -> None:
        """Close; harmless when closed."""
        with self._write_lock, self._gate.exclusive():
            if self._tables is not None:
                self._tables.env.close()
                self._tables = None
                self._directory.trust()
                self._directory.release()

    @property
    def spool_id(self) -> bytes:
        """16 bytes; a new one when the spool was made anew or forked, so ask before each connection."""
        return self._books.spool_id

    # -- writing

    def append(
        self, records: Sequence[tuple[bytes, bytes]], notes: Mapping[bytes, bytes] = _NO_NOTES
    ) -> range:
        """Append (lookup key, record) pairs, and set notes, in one transaction; durable on return.

        Makes room first. Returns the sequences given. Raises ValueError for a key that is not 16 bytes, SpoolFull
        for a batch above two fifths of the quota or when no room can be made, SpoolFailed when the disk fails.
        """
        if any(len(key) != KEY_BYTES for key, _ in records):
            raise ValueError(f"a lookup key has {KEY_BYTES} bytes")
        with self._write_lock:
            attempt = 0
            while True:
                self._make_room(records)
                try:
                    return self._append_once(records, notes)
                except SpoolFull:
                    if not self._squeeze(attempt):
                        raise
                attempt += 1

    def note(self, notes: Mapping[bytes, bytes]) -> None:
        """Set notes alone; an empty value deletes one."""
        with self._writing() as txn:
            txn.put_notes(notes)

    def ack(self, ranges: Sequence[Range]) -> None:
        """Storage has these sequences, both ends inclusive; the same news twice is harmless."""
        with self._writing() as txn:
            settlement.ack(txn, ranges)

    def rewind(self, received: Sequence[Range]) -> None:
        """Take storage's word for what it has, on connecting.

        What it lacks is pending again if it is still here, else declared a gap. Raises SpoolForked.
        """
        with self._writing() as txn:
            if settlement.rewind(txn, received):
                return
            txn.books.spool_id = secrets.token_bytes(16)
        log_event("recorder", "spool_forked", spool_id=self.spool_id.hex())
        raise SpoolForked("storage has sequences that this spool never gave out; it goes on under a new id")

    def dead_letter(self, sequence: int, reason: str) -> None:
        """Storage will never take this one; it stays readable until the room is needed."""
        with self._writing() as txn:
            settlement.dead_letter(txn, sequence, reason)

    # -- reading

    def lease(self, after: int, max_entries: int, max_bytes: int) -> list[Spooled | Gap]:
        """Unacknowledged entries beyond sequence `after`, in order; at least one if there is any.

        Nothing is marked: lease again from an earlier sequence to send again. Damaged rows become gaps here.
        """
        while True:
            leased: list[Spooled | Gap] = []
            damaged: list[int] = []
            with self._reading() as txn:
                size = 0
                for entry in settlement.outstanding(txn, after):
                    if isinstance(entry, int):
                        damaged.append(entry)
                        continue
                    if damaged or len(leased) == max_entries or (leased and size + entry.size > max_bytes):
                        break
                    leased.append(entry)
                    size += entry.size
            if not damaged:
                return leased
            with self._writing() as txn:
                settlement.give_up_damaged(txn, damaged)

    def notes(self) -> dict[bytes, bytes]:
        """All notes."""
        with self._reading() as txn:
            return txn.notes()

    def find(self, key: bytes) -> Spooled | None:
        """The latest record appended under `key`; None where it is gone or damaged."""
        with self._reading() as txn:
            sequence = rows.find(txn, key)
            return None if sequence is None else _read_intact(txn, sequence)

    def get(self, sequence: int) -> Spooled | None:
        """The record, or None where it is gone or damaged."""
        with self._reading() as txn:
            return _read_intact(txn, sequence)

    def newest_first(self, below: int | None, limit: int) -> list[Spooled]:
        """Records with sequences below `below`, descending; at most `limit` and about 4 MiB.

        Fewer than `limit` may come back; only an empty list means the end.
        """
        with self._reading() as txn:
            beyond = txn.books.next_sequence if below is None else below
            return _read_list(txn, rows.sequences_below(txn, beyond), limit)

    def oldest_first(self, above: int, limit: int) -> list[Spooled]:
        """Records with sequences above `above`, ascending; bounded as `newest_first` is."""
        with self._reading() as txn:
            return _read_list(txn, rows.sequences(txn, above + 1), limit)

    def account(self) -> SpoolAccount:
        """The account as of the last commit."""
        with self._reading() as txn:
            books = txn.books
            return SpoolAccount(
                appended=books.appended,
                pending=books.pending,
                acked=books.acked,
                evicted_unacked=books.evicted_unacked,
                dead_lettered=books.dead_lettered,
                corrupt=books.corrupt,
                expired=books.expired,
                next_sequence=books.next_sequence,
                live_bytes=txn.live_bytes(),
                quota_bytes=self._quota_bytes,
            )

    def check_readers(self) -> int:
        """Free the slots of readers that died, or the file grows to its quota; call every minute.

        Returns how many there were.
        """
        if time.monotonic() - self._opened_at > _TRUST_SECONDS:
            self._directory.trust()
        with self._gate.shared():
            return 0 if self._tables is None else self._tables.env.reader_check()

    # -- room

    def _make_room(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        while True:
            with self._writing() as txn:
                incoming = sum(txn.tables.bytes_for(len(record)) for _, record in records)
                limit = int(self._ceiling_bytes(txn.tables) * _FILL)
                if incoming > limit // 2:
                    raise SpoolFull(
                        "the batch is larger than the spool's quota, or the disk's room, can take"
                    )
                excess = txn.live_bytes() + incoming - limit
                if excess <= 0 or not eviction.evict(txn, self._ring, excess):
                    return

    def _ceiling_bytes(self, tables: Tables) -> int:
        """The quota, or what the disk can still hold: a disk that others fill is a smaller quota."""
        file_bytes = tables.file_bytes()
        free_bytes = self._directory.free_bytes()
        aside_bytes = self._directory.aside_bytes()
        if aside_bytes and file_bytes + min(aside_bytes, free_bytes) > self._quota_bytes * (1 - _FILL):
            self._directory.make_room()
        return min(self._quota_bytes, file_bytes + free_bytes)

    def _squeeze(self, attempt: int) -> bool:
        """After a full map: give freed pages the commit they wait for, and evict a little; False to give up."""
        with self._writing() as txn:
            too_full = txn.live_bytes() > self._quota_bytes * _SQUEEZE
            evicted = eviction.evict(txn, self._ring, 0) if too_full else 0
            txn.put("meta", b"squeezed", U64.pack(time.time_ns()))
            txn.tables.env.reader_check()
        return bool(evicted) or attempt < _SQUEEZES_WITHOUT_EVICTION

    # -- transactions

    def _append_once(self, records: Sequence[tuple[bytes, bytes]], notes: Mapping[bytes, bytes]) -> range:
        first = self._books.next_sequence
        try:
            with self._writing() as txn:
                first = txn.books.next_sequence
                _put_records(txn, records)
                txn.put_notes(notes)
        except SpoolFailed:
            if not (records and self._is_committed(first)):
                raise
        return range(first, first + len(records))

    def _is_committed(self, first: int) -> bool:
        """After a failed commit: what the file holds when opened anew decides."""
        try:
            with self._writing() as txn:
                txn.tables.env.sync(True)
                return txn.books.next_sequence > first
        except SpoolError:
            return False

    @contextmanager
    def _reading(self) -> Iterator[Transaction]:
        with self._gate.shared():
            tables = self._open_tables()
            with self._translated(), tables.reading() as txn:
                yield txn

    @contextmanager
    def _writing(self) -> Iterator[Transaction]:
        with self._write_lock:
            if self._failed:
                self._reopen()
            with self._gate.shared():
                tables = self._open_tables()
                with self._translated(), tables.writing() as txn:
                    yield txn
                self._books = txn.books

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
            self._failed, self._unsound = True, str(error)
            raise SpoolFailed(f"spool: {error}") from None
        except (lmdb.Error, OSError) as error:
            self._failed = True
            raise SpoolFailed(f"spool: {error}") from None

    # -- the file

    def _reopen(self) -> None:
        with self._gate.exclusive():
            if self._tables is not None:
                self._tables.env.close()
                self._tables = None
            if self._unsound:
                self._directory.set_aside(DATA_FILE, self._unsound)
                self._unsound = ""
            self._open_file()
            self._failed = False

    def _open_file(self) -> None:
        try:
            try:
                self._tables, self._books = self._try_file()
            except _UNSOUND as error:
                self._directory.set_aside(DATA_FILE, str(error))
                self._tables, self._books = self._try_file()
        except (lmdb.Error, BooksError, OSError) as error:
            raise SpoolFailed(f"spool in {self._directory.path}: {error}") from None

    def _try_file(self) -> tuple[Tables, Books]:
        tables = open_tables(self._directory.path, self._quota_bytes)
        try:
            tables.start_books(_books_of_successor(self._books))
            with tables.reading() as txn:
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
    """Books for a new file: the account goes on, and what was pending in a file set aside is lost as corrupt."""
    return replace(
        last,
        spool_id=secrets.token_bytes(16),
        next_sequence=1,
        head_hash=Books(b"").head_hash,
        pending=0,
        corrupt=last.corrupt + last.pending,
    )


def _put_records(txn: Transaction, records: Sequence[tuple[bytes, bytes]]) -> None:
    books = txn.books
    salts = secrets.token_bytes(SALT_BYTES * len(records))
    chunk_bytes = txn.tables.chunk_bytes
    chunks: list[tuple[bytes, bytes | memoryview]] = []
    for number, (key, record) in enumerate(records):
        sequence = books.next_sequence
        salt = salts[SALT_BYTES * number : SALT_BYTES * (number + 1)]
        books.head_hash, head = seal(sequence, key, books.head_hash, salt, record)
        books.next_sequence += 1
        chunks.extend(_cut(sequence, head, record, chunk_bytes))
        txn.put("keys", key + U64.pack(sequence), b"")
    txn.cursor("rows").putmulti(chunks, append=True)
    books.appended += len(records)
    books.pending += len(records)


def _cut(
    sequence: int, head: bytes, record: bytes, chunk_bytes: int
) -> Iterator[tuple[bytes, bytes | memoryview]]:
    start = chunk_bytes - HEAD_BYTES
    yield rows.ROW_KEY.pack(sequence, 0), head + record[:start]
    rest = memoryview(record)
    for number, offset in enumerate(range(start, len(record), chunk_bytes), 1):
        yield rows.ROW_KEY.pack(sequence, number), rest[offset : offset + chunk_bytes]


def _read_intact(txn: Transaction, sequence: int) -> Spooled | None:
    try:
        return rows.read(txn, sequence)
    except DamagedError:
        return None


def _read_list(txn: Transaction, sequences: Iterator[int], limit: int) -> list[Spooled]:
    found: list[Spooled] = []
    size = 0
    for sequence in sequences:
        if len(found) >= limit or size >= _LIST_BYTES:
            break
        spooled = _read_intact(txn, sequence)
        if spooled is not None:
            found.append(spooled)
            size += spooled.size
    return found
