"""Pipeline: receive, redact, convert, encode, append. One thread, and this room's one loop.

Touches the hand-off sockets, the spool, the clocks and the recorder's row of the counters page. It promises:
what is received is appended, or counted as dropped with its reason, in the transaction that settles its
number; it receives no more than it can commit next, so that a slow disk fills the sockets and the relays
shed; each slot has its turn; a disk that fails costs records and no more.
"""

import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sidecar.counters import CounterPage
from sidecar.event_log import log_event
from sidecar.handoff import MAX_PACKET_BYTES, Arrived, Inbox, Lost
from sidecar.in_flight import InFlight
from sidecar.recorder.books import Books
from sidecar.recorder.conversion import Conversion, Converted
from sidecar.recorder.report_intake import ReportIntake
from sidecar.spool import Spool, SpoolError

# Group commit: whichever comes first.
COMMIT_RECORDS: Final = 64
COMMIT_BYTES: Final = 1 << 20
COMMIT_SECONDS: Final = 0.005
# Heartbeat, and the relays' account into the books where it changed.
IDLE_SECONDS: Final = 1.0
# Told to stop: it takes what waits for so long. The parent's patience is 10 s.
STOP_SECONDS: Final = 7.0
# While the disk fails: how often it is said.
_COMPLAINT_SECONDS: Final = 30.0


@dataclass(slots=True)
class _Batch:
    """What the next commit settles."""

    records: list[tuple[bytes, bytes]] = field(default_factory=list)
    size: int = 0
    # Calls that were in flight until these records, by slot and number.
    ended: list[tuple[int, int]] = field(default_factory=list)
    # Something was settled, be it only a loss.
    changed: bool = False
    began: float = 0.0

    def is_full(self) -> bool:
        return len(self.records) >= COMMIT_RECORDS or self.size >= COMMIT_BYTES


class Pipeline:
    """The recorder's work, from the sockets to the spool. `run` is called once, in a thread of its own."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        page: CounterPage,
        conversion: Conversion,
        spool: Spool,
        *,
        books: Books,
        in_flight: InFlight,
        on_commit: Callable[[], None],
    ) -> None:
        """`sockets` are the recorder's ends of the hand-off pairs, by slot. `on_commit` must not block."""
        self._sockets = {each.fileno(): (slot, each) for slot, each in enumerate(sockets)}
        self._inboxes = [Inbox(slot, number) for slot, number in enumerate(books.settled)]
        self._page = page
        self._row = page.recorder()
        self._conversion = conversion
        self._spool = spool
        self._books = books
        self._in_flight = in_flight
        self._reports = ReportIntake(in_flight, conversion, self._row)
        self._on_commit = on_commit
        self._earlier_appended = spool.account().appended - books.counts["appended"]
        self._batch = _Batch()
        # Monotonic time; set by `stop`.
        self._stop_by: float | None = None
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.epoll()
        for descriptor in (*self._sockets, self._wake_read):
            self._poll.register(descriptor, select.EPOLLIN)
        self._faults = 0
        self._complained_at = -_COMPLAINT_SECONDS
        self._shown_at = 0.0

    def stop(self) -> None:
        """Take what has arrived, commit it, and let `run` return. From any thread."""
        self._stop_by = time.monotonic() + STOP_SECONDS
        os.write(self._wake_write, b"x")

    def run(self) -> None:
        """Work until stopped."""
        self._row["started_monotonic_ns"] = time.monotonic_ns()
        self._publish()
        while not self._is_over(arrived := self._receive()):
            if self._batch.is_full() or (self._batch.changed and self._is_due(arrived)):
                self._commit()
            elif not self._batch.changed and time.monotonic() - self._shown_at >= IDLE_SECONDS:
                self._rest()
        if self._batch.changed:
            self._commit()
        for slot in range(self._page.slots):  # their relays are gone before
            self._in_flight.lose(slot, time.monotonic_ns())
        self._note_relays()
        self._publish()
        self._poll.close()

    def _is_over(self, arrived: bool) -> bool:
        return self._stop_by is not None and (not arrived or time.monotonic() >= self._stop_by)

    def _is_due(self, arrived: bool) -> bool:
        return not arrived or time.monotonic() - self._batch.began >= COMMIT_SECONDS

    # -- receive

    def _receive(self) -> bool:
        """Take what is there, at most until the batch is full; False where nothing came in time."""
        if self._stop_by is not None:
            patience = 0.0
        elif self._batch.changed:
            patience = max(self._batch.began + COMMIT_SECONDS - time.monotonic(), 0.0)
        else:
            patience = IDLE_SECONDS
        # One at a time: the kernel then goes round, and a busy slot can't keep others from their turn.
        for descriptor, _ in self._poll.poll(patience, 1):
            if descriptor != self._wake_read:
                return self._receive_slot(*self._sockets[descriptor])
            os.read(self._wake_read, 4096)
            return True
        return False

    def _receive_slot(self, slot: int, sock: socket.socket) -> bool:
        came = False
        while not self._batch.is_full():
            try:
                packet = sock.recv(MAX_PACKET_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            came = True
            if not packet:  # the parent is gone, and with it every sender
                self._poll.unregister(sock.fileno())
                break
            self._take(slot, packet)
        return came

    def _take(self, slot: int, packet: bytes) -> None:
        inbox = self._inboxes[slot]
        if (told := inbox.take_in_flight(packet)) is not None:
            # What the next commit brings as records is not lost with its relay.
            self._in_flight.end(self._batch.ended)
            self._reports.take(slot, told, time.monotonic_ns())
            return
        for each in inbox.take(packet):
            if not self._batch.changed:
                self._batch.changed, self._batch.began = True, time.monotonic()
            if isinstance(each, Lost):
                self._books.count("lost_crash", each.count)
                self._books.settle(slot, each.last)
            else:
                self._convert(slot, each)
        faults = sum(each.faults for each in self._inboxes)
        if faults > self._faults:
            log_event("recorder", "packets that can't be read", slot=slot, packets=faults - self._faults)
            self._faults = faults

    # -- redact, convert, encode

    def _convert(self, slot: int, arrived: Arrived) -> None:
        try:
            converted = self._conversion.convert(slot, arrived.exchange, time.time_ns())
        except Exception as fault:
            self._books.count("dropped_recorder_fault", 1)
            log_event("recorder", "record dropped", fault=type(fault).__name__)
        else:
            self._note(converted)
        if not arrived.exchange.is_continued:
            self._batch.ended.append((slot, arrived.exchange.call_number))
        self._books.settle(slot, arrived.number)

    def _note(self, converted: Converted | None) -> None:
        if converted is None:
            self._books.count("not_sampled_by_rule", 1)
            return
        self._batch.records.append((converted.call_id, converted.record))
        self._batch.size += len(converted.record)
        self._row.add("redactions", converted.redactions)
        self._row.add("bodies_withheld", converted.withheld)

    # -- append

    def _commit(self) -> None:
        batch, self._batch = self._batch, _Batch()
        self._books.count("appended", len(batch.records))
        self._books.see(self._relay_rows())
        try:
            self._spool.append(batch.records, self._books.notes())
        except SpoolError as error:
            self._books.count("appended", -len(batch.records))
            self._books.count("dropped_spool_failed", len(batch.records))
            self._complain(error)
        self._in_flight.end(batch.ended)
        self._publish()
        self._on_commit()

    def _complain(self, error: SpoolError) -> None:
        if time.monotonic() - self._complained_at >= _COMPLAINT_SECONDS:
            self._complained_at = time.monotonic()
            log_event("recorder", "spool takes nothing: records are dropped", reason=str(error))

    # -- between commits

    def _rest(self) -> None:
        """Nothing to do: keep the relays' account, for the case that everything is killed."""
        before = self._books.relays
        self._books.see(self._relay_rows())
        if self._books.relays != before:
            self._note_relays()
        self._publish()

    def _note_relays(self) -> None:
        self._books.see(self._relay_rows())
        try:
            self._spool.note(self._books.notes())
        except SpoolError as error:
            self._complain(error)

    def _relay_rows(self) -> list[dict[str, int]]:
        return [self._page.relay(slot).values() for slot in range(self._page.slots)]

    def _publish(self) -> None:
        self._shown_at = time.monotonic()
        row = self._row
        row["in_flight"] = len(self._in_flight)
        row["earlier_appended"] = self._earlier_appended
        try:
            account = self._spool.account()
        except SpoolError as error:
            self._complain(error)
        else:
            for name in ("pending", "acked", "evicted_unacked", "dead_lettered", "corrupt", "expired"):
                row[name] = getattr(account, name)
            row["spool_bytes"] = account.live_bytes
            row["spool_quota_bytes"] = account.quota_bytes
            row["next_sequence"] = account.next_sequence
        # Last: who reads that nothing is in transit any more finds the spool's numbers in place.
        self._books.publish(row)
        row["heartbeat_monotonic_ns"] = time.monotonic_ns()
