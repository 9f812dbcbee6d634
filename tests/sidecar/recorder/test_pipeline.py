"""The pipeline between real sockets and a real spool: what is settled, dropped, lost, and what waits."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from infertap import v1
from sidecar import config
from sidecar.account import draw_up
from sidecar.counters import CounterPage
from sidecar.exchange import EndedBy, Exchange, Protocol, Reason
from sidecar.handoff import MAX_PACKET_BYTES, pack_exchange, report_packets
from sidecar.handoff.wire import batch_packet, mark_packet, part_packets
from sidecar.in_flight import CallInFlight, InFlight
from sidecar.recorder.books import Books
from sidecar.recorder.conversion import Conversion, Converted
from sidecar.recorder.pipeline import COMMIT_BYTES, COMMIT_RECORDS, Pipeline
from sidecar.spool import Spool, SpoolFailed

RUN = b"r" * 16
WAIT_SECONDS = 20.0


def call(number: int, body: bytes = b"") -> Exchange:
    """A call that was answered well."""
    exchange = Exchange(number, 0, Protocol.HTTP1, 1000, 1_700_000_000_000_000_000 + number)
    exchange.ended, exchange.ended_by, exchange.reason = 2000, EndedBy.MODEL, Reason.RATE
    exchange.method, exchange.target, exchange.status = b"POST", b"/v1/x", 200
    exchange.request_head = b"POST /v1/x HTTP/1.1\r\ncontent-type: text/plain\r\n\r\n"
    exchange.request.captured_pieces, exchange.request.captured = [body], len(body)
    exchange.request.size = len(body)
    return exchange


def await_true(claim: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not claim():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


class Disk:
    """A spool whose disk can fail, and hang."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.fails = False
        self.moves = threading.Event()
        self.moves.set()
        self.sizes: list[int] = []

    def append(self, records: Sequence[tuple[bytes, bytes]], notes: Mapping[bytes, bytes]) -> range:
        assert self.moves.wait(WAIT_SECONDS)
        if self.fails:
            raise SpoolFailed("no space left on device")
        self.sizes.append(len(records))
        return self.spool.append(records, notes)

    def note(self, notes: Mapping[bytes, bytes]) -> None:
        if self.fails:
            raise SpoolFailed("no space left on device")
        self.spool.note(notes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.spool, name)


class Faulty:
    """A conversion that fails on calls to /fault."""

    def __init__(self, conversion: Conversion) -> None:
        self._conversion = conversion

    def convert(self, slot: int, exchange: Exchange, recorded_at_ns: int) -> Converted:
        if exchange.target == b"/fault":
            raise RuntimeError("a text that quotes 4111 1111 1111 1111")
        return self._conversion.convert(slot, exchange, recorded_at_ns)

    def in_flight(self, slot: int, exchange: Exchange) -> CallInFlight:
        return self._conversion.in_flight(slot, exchange)


class Rig:
    """A pipeline in its thread, the relays' ends of its sockets, and everything that it touches."""

    def __init__(self, directory: Path, slots: int = 1) -> None:
        self.directory = directory
        self.slots = slots
        self.page = CounterPage.create(slots)
        self.pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(slots)]
        self.row = self.page.recorder()
        self.commits = 0
        self.start()

    def start(self) -> None:
        """A recorder, the first or a successor."""
        self.spool = Spool.open(self.directory, 16 << 20, ring=True)
        self.disk = Disk(self.spool)
        conversion = Faulty(Conversion(config.read({}), None, RUN))
        self.in_flight = InFlight()
        self.books = Books.open(RUN, self.slots, self.spool.notes())
        self.pipeline = Pipeline(
            [theirs for _, theirs in self.pairs],
            self.page,
            conversion,  # type: ignore[arg-type]
            self.disk,  # type: ignore[arg-type]
            books=self.books,
            in_flight=self.in_flight,
            on_commit=self._committed,
        )
        self.thread = threading.Thread(target=self.pipeline.run)
        self.thread.start()

    def _committed(self) -> None:
        self.commits += 1

    def stop(self) -> None:
        """As SIGTERM does."""
        if self.thread.is_alive():
            self.pipeline.stop()
        self.thread.join(WAIT_SECONDS)
        assert not self.thread.is_alive()
        self.spool.close()

    def send(self, *packets: bytes, slot: int = 0) -> None:
        for packet in packets:
            self.pairs[slot][0].send(packet)

    def hand_over(self, calls: Sequence[Exchange], slot: int = 0) -> None:
        """As a relay does: counted, numbered, sent one by one."""
        row = self.page.relay(slot)
        for each in calls:
            row.add("seen")
            row.add("handed_over")
            self.send(batch_packet(row["handed_over"], [pack_exchange(each)]), slot=slot)

    def await_settled(self) -> dict[str, int]:
        """The recorder's row once nothing is in transit; every line balances then."""

        def is_settled() -> bool:
            return self.account().hand_over.terms["in_transit"] == 0

        await_true(is_settled, f"unsettled: {self.row.values()}")
        assert self.account().balanced, self.account().as_json()
        return self.row.values()

    def account(self) -> Any:
        recorder = self.row.values()
        return draw_up([self.page.relay(slot).values() for slot in range(self.slots)], recorder)


@pytest.fixture
def start_rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """Starts rigs; each is stopped at the end."""
    with contextlib.ExitStack() as stack:

        def start(slots: int = 1) -> Rig:
            rig = Rig(tmp_path / "spool", slots)
            for pair in rig.pairs:
                for end in pair:
                    stack.callback(end.close)
            stack.callback(rig.stop)
            return rig

        yield start


def test_calls_become_records(start_rig: Callable[..., Rig]) -> None:
    """Each call that is handed over is in the spool, in order, redacted, and counted."""
    rig = start_rig()
    rig.hand_over([call(number, b"mail to ann@example.org") for number in range(1, 11)])
    row = rig.await_settled()
    assert (row["appended"], row["pending"], row["next_sequence"]) == (10, 10, 11)
    assert row["redactions"] == 10
    records = [v1.Record.FromString(each.record) for each in rig.spool.oldest_first(0, 100)]
    assert [record.timing.start.nanos for record in records] == list(range(1, 11))
    assert all(b"ann@example.org" not in record.SerializeToString() for record in records)
    assert rig.commits > 0


def test_parts_become_one_record(start_rig: Callable[..., Rig]) -> None:
    """A call too big for a packet comes in parts and is one record."""
    rig = start_rig()
    row = rig.page.relay(0)
    row["seen"] = row["handed_over"] = 1
    packed = pack_exchange(call(1, b"word " * MAX_PACKET_BYTES))
    for part in part_packets(1, packed):
        rig.pairs[0][0].send(part)
    rig.await_settled()
    (only,) = rig.spool.oldest_first(0, 10)
    assert v1.Record.FromString(only.record).request.data == b"word " * MAX_PACKET_BYTES


def test_group_commit(start_rig: Callable[..., Rig]) -> None:
    """What arrives while the disk is busy is committed together, at most COMMIT_RECORDS at a time."""
    rig = start_rig()
    rig.disk.moves.clear()
    rig.hand_over([call(number) for number in range(1, 151)])
    rig.disk.moves.set()
    rig.await_settled()
    assert sum(rig.disk.sizes) == 150
    assert COMMIT_RECORDS / 2 < max(rig.disk.sizes) <= COMMIT_RECORDS


def test_takes_no_more_than_it_can_commit(start_rig: Callable[..., Rig]) -> None:
    """While the disk hangs, packets stay in the socket until it is full, and then the relay is told."""
    rig = start_rig()
    rig.disk.moves.clear()
    sender = rig.pairs[0][0]
    sender.setblocking(False)
    packed = pack_exchange(call(1, b"x" * 50_000))
    sent = 0
    refused = 0
    deadline = time.monotonic() + WAIT_SECONDS
    while refused < 50:  # the pipeline takes one batch and then no more
        assert time.monotonic() < deadline
        try:
            sender.send(batch_packet(sent + 1, [packed]))
            sent, refused = sent + 1, 0
        except BlockingIOError:
            refused += 1
            time.sleep(0.01)
    assert sent * 50_000 < 3 * COMMIT_BYTES + 8 * sender.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    row = rig.page.relay(0)
    row["seen"] = row["handed_over"] = sent
    assert rig.account().hand_over.terms["in_transit"] == sent, "nothing is settled before it is durable"
    rig.disk.moves.set()
    assert rig.await_settled()["appended"] == sent


def test_conversion_that_fails(start_rig: Callable[..., Rig], capfd: pytest.CaptureFixture[str]) -> None:
    """A call on which the converter fails is dropped and counted; nothing of it is told, others go on."""
    rig = start_rig()
    bad = call(2)
    bad.target = b"/fault"
    rig.hand_over([call(1), bad, call(3)])
    row = rig.await_settled()
    assert (row["appended"], row["dropped_recorder_fault"]) == (2, 1)
    said = capfd.readouterr().err
    assert "RuntimeError" in said
    assert "4111" not in said


def test_disk_that_fails(start_rig: Callable[..., Rig], capfd: pytest.CaptureFixture[str]) -> None:
    """While the disk takes nothing records are dropped and counted, said once; then recording resumes."""
    rig = start_rig()
    rig.hand_over([call(1)])
    rig.await_settled()
    rig.disk.fails = True
    for number in range(2, 12):
        rig.hand_over([call(number)])
        rig.await_settled()
    assert rig.row["dropped_spool_failed"] == 10
    rig.disk.fails = False
    rig.hand_over([call(12)])
    row = rig.await_settled()
    assert (row["appended"], row["dropped_spool_failed"]) == (2, 10)
    assert capfd.readouterr().err.count("records are dropped") == 1
    rig.stop()
    assert Books.open(RUN, 1, notes_of(rig.directory)).counts["dropped_spool_failed"] == 10


def notes_of(directory: Path) -> dict[bytes, bytes]:
    spool = Spool.open(directory, 16 << 20, ring=True)
    try:
        return spool.notes()
    finally:
        spool.close()


def test_hole_in_the_numbers(start_rig: Callable[..., Rig]) -> None:
    """Numbers that never arrive are lost_crash, shown by the next call or by a mark."""
    rig = start_rig()
    row = rig.page.relay(0)
    row["seen"] = row["handed_over"] = 9
    rig.send(batch_packet(4, [pack_exchange(call(4)), pack_exchange(call(5))]))
    await_true(lambda: rig.row["appended"] == 2, "two records")
    assert rig.row["lost_crash"] == 3
    rig.send(mark_packet(9))
    assert rig.await_settled()["lost_crash"] == 7


def test_packets_that_can_not_be_read(start_rig: Callable[..., Rig]) -> None:
    """Bytes that no relay sends are survived; what they stood for is lost_crash."""
    rig = start_rig()
    row = rig.page.relay(0)
    row["seen"] = row["handed_over"] = 2
    rig.send(b"\xff", b"\x01" + b"\0" * 7 + b"\1" + b"\xc1", batch_packet(2, [pack_exchange(call(2))]))
    row_after = rig.await_settled()
    assert (row_after["appended"], row_after["lost_crash"]) == (1, 1)


def test_successor_takes_what_waits(start_rig: Callable[..., Rig]) -> None:
    """What came between two recorders waits in the socket; nothing is settled twice."""
    rig = start_rig()
    rig.hand_over([call(number) for number in range(1, 6)])
    rig.await_settled()
    rig.stop()
    rig.hand_over([call(number) for number in range(6, 9)])
    rig.start()
    assert rig.await_settled()["appended"] == 8
    assert len({each.key for each in rig.spool.oldest_first(0, 100)}) == 8


def test_stop_takes_what_has_arrived(start_rig: Callable[..., Rig]) -> None:
    """Told to stop, it commits everything that had arrived, from every slot, and returns."""
    rig = start_rig(slots=3)
    rig.disk.moves.clear()
    for slot in range(3):
        rig.hand_over([call(number) for number in range(1, 81)], slot)
    rig.pipeline.stop()
    rig.disk.moves.set()
    rig.thread.join(WAIT_SECONDS)
    assert not rig.thread.is_alive()
    assert rig.row["appended"] == 240
    assert rig.account().balanced


def test_stop_comes_to_an_end_under_load(start_rig: Callable[..., Rig]) -> None:
    """A relay that goes on sending can't keep the recorder from ending."""
    rig = start_rig()
    ending = threading.Event()
    packed = pack_exchange(call(1))

    def send_on() -> None:
        rig.pairs[0][0].settimeout(0.05)
        number = 0
        while not ending.is_set():
            with contextlib.suppress(TimeoutError):
                rig.send(batch_packet(number + 1, [packed]))
                number += 1

    sending = threading.Thread(target=send_on)
    sending.start()
    try:
        await_true(lambda: rig.row["appended"] > 0, "records")
        rig.pipeline.stop()
        rig.thread.join(WAIT_SECONDS)
        assert not rig.thread.is_alive()
    finally:
        ending.set()
        sending.join(WAIT_SECONDS)


def test_slots_take_turns(start_rig: Callable[..., Rig]) -> None:
    """Slots whose sockets are all full are served in turn: none waits for another to fall silent."""
    rig = start_rig(slots=2)
    rig.disk.moves.clear()
    for slot in range(2):
        rig.hand_over([call(number) for number in range(1, 200)], slot)
    rig.disk.moves.set()
    rig.await_settled()
    # The order of the spool, by the slot's part of the call id: later records of slot 0 lie behind slot 1's.
    conversion = Conversion(config.read({}), None, RUN)
    first_slot = {conversion.convert(0, call(number), 0).call_id for number in range(1, 200)}
    order = [each.key in first_slot for each in rig.spool.oldest_first(0, 1000)]
    assert len(order) == 398
    assert order.index(False) < 3 * COMMIT_RECORDS
    assert order.index(True) < 3 * COMMIT_RECORDS


def test_heartbeat_and_the_relays_account(start_rig: Callable[..., Rig]) -> None:
    """With nothing to record it shows life, and keeps the relays' account for the next run."""
    rig = start_rig()
    await_true(lambda: rig.row["heartbeat_monotonic_ns"] > 0, "a first sign of life")
    before = rig.row["heartbeat_monotonic_ns"]
    row = rig.page.relay(0)
    row["seen"] = row["not_sampled"] = 5
    await_true(lambda: rig.row["heartbeat_monotonic_ns"] > before, "another")
    rig.stop()
    assert Books.open(b"n" * 16, 1, notes_of(rig.directory)).earlier["not_recorded"] == 5


def open_call(number: int, path: bytes = b"/v1/slow") -> Exchange:
    """A call that lasts."""
    exchange = Exchange(number, 0, Protocol.HTTP1, 1000, 1_700_000_000_000_000_000 + number)
    exchange.method, exchange.target = b"POST", path
    exchange.request_head = b"POST /v1/slow HTTP/1.1\r\nuser-agent: ann@example.org\r\n\r\n"
    exchange.request.captured_pieces, exchange.request.captured, exchange.request.size = [b"x"], 1, 1
    return exchange


def report(*calls: Exchange) -> bytes:
    return report_packets.report_packet([report_packets.pack_report(each) for each in calls])


def shown(rig: Rig) -> list[v1.Record]:
    return [each.shown(time.monotonic_ns()) for each in rig.in_flight.calls(time.monotonic_ns())]


def test_calls_in_flight(start_rig: Callable[..., Rig]) -> None:
    """A call is in the table from its report to its record, redacted, with what came so far."""
    rig = start_rig()
    exchange = open_call(1, b"/v1/slow?mail=ann@example.org")
    rig.send(report(exchange), report_packets.progress_packet(1, [(1, 5, 70, 200, 1_001_000)]))
    await_true(lambda: [each.response.size_bytes for each in shown(rig)] == [70], "in flight")
    (record,) = shown(rig)
    assert (record.state, record.path, record.http_status) == (v1.INFERENCING, "/v1/slow", 200)
    assert (record.request.size_bytes, record.timing.first_response_byte_us) == (5, 1000)
    assert record.timing.duration_us > 0
    assert not record.timing.HasField("end")
    assert not record.logging_error_codes
    assert b"ann@example.org" not in record.SerializeToString()
    await_true(lambda: rig.row["in_flight"] == 1, "counted")
    exchange.ended, exchange.ended_by, exchange.status = 2000, EndedBy.MODEL, 200
    rig.hand_over([exchange])
    assert rig.await_settled()["appended"] == 1
    await_true(lambda: not shown(rig), "its record has ended it")
    assert v1.Record.FromString(rig.spool.oldest_first(0, 1)[0].record).call_id == record.call_id


def test_segments_end_no_call(start_rig: Callable[..., Rig]) -> None:
    """A record that another continues leaves the call in flight."""
    rig = start_rig()
    exchange = open_call(1)
    rig.send(report(exchange))
    await_true(lambda: shown(rig), "in flight")
    exchange.is_continued = True
    rig.hand_over([exchange])
    rig.await_settled()
    assert shown(rig)


def test_calls_that_have_no_record(start_rig: Callable[..., Rig]) -> None:
    """The relay's word ends calls without records; a successor's first word fails what the relay had open."""
    rig = start_rig(2)
    rig.send(report(open_call(1), open_call(2), open_call(3)))
    rig.send(report(open_call(1)), slot=1)
    await_true(lambda: len(shown(rig)) == 4, "in flight")
    rig.send(report_packets.ended_packet([2]))
    await_true(lambda: len(shown(rig)) == 3, "one has ended")
    rig.send(report_packets.begun_packet())
    await_true(lambda: [each.state for each in shown(rig)].count(v1.FAILED) == 2, "two are lost")
    lost = [each for each in shown(rig) if each.state == v1.FAILED]
    assert all(each.logging_error_codes == ["RELAY_LOST"] for each in lost)
    rig.send(report_packets.begun_packet())
    assert rig.row["appended"] == 0


def test_reports_that_can_not_be_read(start_rig: Callable[..., Rig]) -> None:
    """They are passed over, and hand-overs go on; a PART sequence goes on past reports."""
    rig = start_rig()
    row = rig.page.relay(0)
    row["seen"] = row["handed_over"] = 1
    for kind in (report_packets.REPORT, report_packets.PROGRESS, report_packets.ENDED):
        rig.send(bytes((kind, 0xC1)))
    parts = part_packets(1, pack_exchange(call(1, b"word " * MAX_PACKET_BYTES)))
    assert len(parts) > 2
    for part in parts:
        rig.send(report(open_call(7)), part)
    assert rig.await_settled()["appended"] == 1


def test_table_is_bounded(start_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its bound calls are not in the table, and counted."""
    rig = start_rig()
    monkeypatch.setattr(rig.in_flight, "_most_calls", 3)
    rig.send(report(*(open_call(number) for number in range(1, 6))))
    await_true(lambda: rig.row["in_flight_dropped"] == 2, "counted")
    assert len(shown(rig)) == 3


def test_record_that_came_before_its_relay_was_gone(start_rig: Callable[..., Rig]) -> None:
    """A call whose record waits for its commit when the successor of its relay begins is not lost."""
    rig = start_rig()
    rig.disk.moves.clear()  # so that all of it waits
    rig.hand_over([call(7)])
    rig.send(report(open_call(1)))
    rig.hand_over([call(1)])
    rig.send(report_packets.begun_packet())
    rig.disk.moves.set()
    assert rig.await_settled()["appended"] == 2
    assert shown(rig) == []
