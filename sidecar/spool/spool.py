"""Spool: the room's one object: append, lease, acknowledge, read.

What lies in the file is drawn in `tables`, `envelope` and `books`; what moves records between counts is in
`settlement` and `eviction`; threads and failures are the business of `spool_file`. Here: one method for each
act, as one transaction or a few, and the quota.
"""

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

from sidecar.event_log import log_event
from sidecar.spool import eviction, rows, settlement
from sidecar.spool.directory import SpoolDirectory
from sidecar.spool.entries import DeadLetter, Gap, SpoolAccount, Spooled
from sidecar.spool.envelope import HEAD_BYTES, KEY_BYTES, SALT_BYTES, DamagedError, seal
from sidecar.spool.errors import SpoolFailed, SpoolForked, SpoolFull, SpoolReplaced, UnsoundError
from sidecar.spool.range_table import U64
from sidecar.spool.ranges import Range
from sidecar.spool.spool_file import SpoolFile
from sidecar.spool.tables import Tables, Transaction

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


class _TooLarge(SpoolFull):
    """No eviction would make room for this batch."""


class Spool:
    """The ring. Safe to use from any thread; every call may block on the disk."""

    def __init__(self, directory: SpoolDirectory, quota_bytes: int, ring: bool) -> None:
        """Use `open`."""
        self._directory = directory
        self._quota_bytes = quota_bytes
        self._ring = ring
        self._file = SpoolFile(directory, quota_bytes)
        self._opened_at = time.monotonic()

    @classmethod
    def open(cls, directory: Path, quota_bytes: int, ring: bool) -> "Spool":
        """Open or make the spool in `directory`; with `ring`, there is no storage and the oldest expire.

        A file that can't be trusted, or of another format, is set aside and a new spool started. Raises
        SpoolLocked where another process uses the directory, SpoolFailed where it can't be used.
        """
        owned = SpoolDirectory.claim(directory)
        try:
            spool = cls(owned, quota_bytes, ring)
        except BaseException:
            owned.release()
            raise
        spool.check_readers()
        return spool

    def close(self) -> None:
        """Close; harmless when closed."""
        self._file.close()

    @property
    def spool_id(self) -> bytes:
        """16 bytes; a new one when the spool was made anew or forked, so ask before each connection."""
        return self._file.books.spool_id

    # -- writing

    def append(
        self, records: Sequence[tuple[bytes, bytes]], notes: Mapping[bytes, bytes] = _NO_NOTES
    ) -> range:
        """Append (lookup key, record) pairs, and set notes, in one transaction; durable on return.

        Makes room first. Returns the sequences given. Raises ValueError for a key that is not 16 bytes,
        SpoolFull for a batch above two fifths of the quota or when no room can be made, SpoolFailed when the
        disk fails.
        """
        if any(len(key) != KEY_BYTES for key, _ in records):
            raise ValueError(f"a lookup key has {KEY_BYTES} bytes")
        with self._file.writer():
            attempt = 0
            while True:
                try:
                    self._make_room(records)
                    return self._append_once(records, notes)
                except _TooLarge:
                    raise
                except SpoolFull:
                    if not self._squeeze(attempt):
                        raise
                attempt += 1

    def note(self, notes: Mapping[bytes, bytes]) -> None:
        """Set notes alone; an empty value deletes one."""
        with self._file.writing() as txn:
            txn.put_notes(notes)

    # What storage says is about the spool that it was sent as: `of` is that one's id, or empty. All four
    # raise SpoolReplaced, changing nothing, where this is another one by now.

    def ack(self, ranges: Sequence[Range], of: bytes = b"") -> None:
        """Storage has these sequences, both ends inclusive; the same news twice is harmless."""
        with self._file.writing() as txn:
            _require(txn, of)
            settlement.ack(txn, ranges)

    def rewind(self, received: Sequence[Range], of: bytes = b"") -> None:
        """Take storage's word for what it has, on connecting.

        What it lacks is pending again if it is still here, else declared a gap. Raises SpoolForked.
        """
        with self._file.writing() as txn:
            _require(txn, of)
            if settlement.rewind(txn, received):
                return
            txn.books.spool_id = secrets.token_bytes(16)
        log_event("recorder", "spool_forked", spool_id=self.spool_id.hex())
        raise SpoolForked("storage has sequences that this spool never gave out; it goes on under a new id")

    def dead_letter(self, sequence: int, reason: str, of: bytes = b"") -> None:
        """Storage will never take this one; it stays readable until the room is needed."""
        with self._file.writing() as txn:
            _require(txn, of)
            settlement.dead_letter(txn, sequence, reason)

    def resend(self, sequences: Sequence[int]) -> int:
        """Let storage be asked again for these dead letters; returns how many of them there were."""
        with self._file.writing() as txn:
            return settlement.resend(txn, sequences)

    def forget(self, forgotten: Sequence[Range], of: bytes = b"") -> None:
        """Drop what is kept of records that storage deleted; what it has not acknowledged stays."""
        while True:
            with self._file.writing() as txn:
                _require(txn, of)
                if not settlement.forget(txn, forgotten, eviction.MAX_CHUNKS):
                    return

    # -- reading

    def lease(self, after: int, max_entries: int, max_bytes: int) -> list[Spooled | Gap]:
        """Unacknowledged entries beyond sequence `after`, in order; at least one if there is any.

        Nothing is marked: lease again from an earlier sequence to send again. Damaged rows become gaps here.
        """
        given_up: list[int] = []
        while True:
            with self._file.reading() as txn:
                leased, damaged = settlement.lease(txn, after, max_entries, max_bytes)
                missing = 0 if leased or after else txn.books.pending
            if not damaged and not missing:
                return leased
            with self._file.writing() as txn:
                if damaged and damaged == given_up:
                    raise UnsoundError("damaged rows that can't be found again")
                settlement.give_up_damaged(txn, damaged)
                settlement.give_up_missing(txn)
            given_up = damaged

    def dead_letters(self, above: int, limit: int) -> list[DeadLetter]:
        """Dead letters with sequences above `above`, ascending; at most `limit` and about 4 MiB."""
        found: list[DeadLetter] = []
        size = 0
        with self._file.reading() as txn:
            for sequence, reason in rows.dead(txn, above):
                if len(found) == limit or size >= _LIST_BYTES:
                    break
                spooled = _read_intact(txn, sequence)
                found.append(DeadLetter(sequence, reason, spooled))
                size += 0 if spooled is None else spooled.size
        return found

    def notes(self) -> dict[bytes, bytes]:
        """All notes."""
        with self._file.reading() as txn:
            return txn.notes()

    def find(self, key: bytes) -> Spooled | None:
        """The latest record appended under `key`; None where it is gone or damaged."""
        with self._file.reading() as txn:
            sequence = rows.find(txn, key)
            return None if sequence is None else _read_intact(txn, sequence)

    def find_all(self, key: bytes) -> Iterator[Spooled]:
        """The records appended under `key` that are there and intact, in order; each is read when it is asked
        for.
        """
        with self._file.reading() as txn:
            sequences = rows.find_all(txn, key)
        for sequence in sequences:
            spooled = self.get(sequence)
            if spooled is not None:
                yield spooled

    def get(self, sequence: int) -> Spooled | None:
        """The record, or None where it is gone or damaged."""
        with self._file.reading() as txn:
            return _read_intact(txn, sequence)

    def newest_first(self, below: int | None, limit: int) -> list[Spooled]:
        """Records with sequences below `below`, descending; at most `limit` and about 4 MiB.

        Fewer than `limit` may come back; only an empty list means the end.
        """
        with self._file.reading() as txn:
            beyond = txn.books.next_sequence if below is None else below
            return _read_list(txn, rows.sequences_below(txn, beyond), limit)

    def oldest_first(self, above: int, limit: int) -> list[Spooled]:
        """Records with sequences above `above`, ascending; bounded as `newest_first` is."""
        with self._file.reading() as txn:
            return _read_list(txn, rows.sequences(txn, above + 1), limit)

    def account(self) -> SpoolAccount:
        """The account as of the last commit."""
        with self._file.reading() as txn:
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
                last_hash=books.head_hash,
                set_aside=int(self._directory.aside_bytes > 0),
                live_bytes=txn.live_bytes(),
                quota_bytes=self._quota_bytes,
            )

    def check_readers(self) -> int:
        """Free the slots of readers that died, or the file grows to its quota; call every minute.

        Returns how many there were.
        """
        if time.monotonic() - self._opened_at > _TRUST_SECONDS:
            self._directory.trust()
        return self._file.check_readers()

    # -- room

    def _make_room(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        while True:
            with self._file.writing() as txn:
                incoming = sum(txn.tables.bytes_for(len(record)) for _, record in records)
                limit = int(self._ceiling_bytes(txn.tables) * _FILL)
                if incoming > limit // 2:
                    raise _TooLarge(
                        "the batch is larger than the spool's quota, or the disk's room, can take"
                    )
                excess = txn.live_bytes() + incoming - limit
                if excess <= 0 or not eviction.evict(txn, self._ring, excess):
                    return

    def _ceiling_bytes(self, tables: Tables) -> int:
        """The quota, or what the disk can still hold: a disk that others fill is a smaller quota."""
        file_bytes = tables.file_bytes()
        free_bytes = self._directory.free_bytes()
        aside_bytes = self._directory.aside_bytes
        scarce = free_bytes < self._quota_bytes * (1 - _FILL)
        if aside_bytes and (scarce or file_bytes + aside_bytes > self._quota_bytes * _FILL):
            self._directory.make_room()
        return min(self._quota_bytes, file_bytes + free_bytes)

    def _squeeze(self, attempt: int) -> bool:
        """After a full map: let go of dead readers' pages, give freed ones the commit they need, evict a
        little; False to give up.
        """
        self._file.check_readers()
        evicted = 0
        with suppress(SpoolFull), self._file.writing() as txn:
            if txn.live_bytes() > self._quota_bytes * _SQUEEZE:
                evicted = eviction.evict(txn, self._ring, 0)
            txn.put("meta", b"squeezed", U64.pack(time.time_ns()))
        return bool(evicted) or attempt < _SQUEEZES_WITHOUT_EVICTION

    # -- transactions

    def _append_once(self, records: Sequence[tuple[bytes, bytes]], notes: Mapping[bytes, bytes]) -> range:
        first = self._file.books.next_sequence
        try:
            with self._file.writing() as txn:
                first = txn.books.next_sequence
                _put_records(txn, records)
                txn.put_notes(notes)
        except SpoolFailed:
            if not (records and self._file.is_committed(first)):
                raise
        return range(first, first + len(records))


def _require(txn: Transaction, spool_id: bytes) -> None:
    if spool_id not in (b"", txn.books.spool_id):
        raise SpoolReplaced("the spool was set aside, and goes on under a new id")


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
