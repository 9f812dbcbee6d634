"""What relays tell of calls in flight, packed and read again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.exchange import Body, Exchange, Protocol
from sidecar.handoff import MAX_PACKET_BYTES, WireError, report_packets
from sidecar.handoff.report_packets import Progress, Round


def call(number: int, head: bytes = b"POST /v1/x HTTP/1.1\r\n\r\n") -> Exchange:
    """An open call that has come some way."""
    exchange = Exchange(number, 0, Protocol.HTTP1, 1000, 2000)
    exchange.request_head, exchange.target, exchange.method = head, b"/v1/x", b"POST"
    exchange.request_id = b"id"
    exchange.request = Body([b"secret"], 6, 6)
    exchange.response = Body([b"answer"], 6, 6)
    return exchange


def test_report_has_no_bodies() -> None:
    """A report is the call less its bodies, and leaves the call as it is."""
    open_call = call(7)
    packet = report_packets.report_packet([report_packets.pack_report(open_call)])
    assert b"secret" not in packet
    assert b"answer" not in packet
    (read,) = report_packets.read_report(packet)
    assert (read.call_number, read.target, read.request_head) == (7, b"/v1/x", open_call.request_head)
    assert (read.request, read.response) == (Body(), Body())
    assert (open_call.request.captured_pieces, open_call.response.size) == ([b"secret"], 6)


def test_report_of_a_call_with_a_huge_head() -> None:
    """A call whose head fills a packet is reported by its ids and numbers alone, and keeps its head."""
    open_call = call(7, head=b"x" * MAX_PACKET_BYTES)
    packet = report_packets.report_packet([report_packets.pack_report(open_call)])
    assert len(packet) <= MAX_PACKET_BYTES
    (read,) = report_packets.read_report(packet)
    assert (read.call_number, read.request_id, read.request_head, read.target) == (7, b"id", b"", b"")
    assert len(open_call.request_head) == MAX_PACKET_BYTES


def test_progress() -> None:
    """Rows of a round come back as they were."""
    packet = report_packets.progress_packet(3, [(1, 10, 20, 200, 5), (2, 0, 0, 0, -1)])
    assert report_packets.read_progress(packet) == Round(
        3, [Progress(1, 10, 20, 200, 5), Progress(2, 0, 0, 0, -1)]
    )


def test_ended() -> None:
    """Call numbers come back as they were."""
    assert report_packets.read_ended(report_packets.ended_packet([3, 1 << 40])) == [3, 1 << 40]


@given(st.binary(max_size=64))
def test_garbage(data: bytes) -> None:
    """Bytes that no relay sends give a WireError or a value of the right shape, never another error."""
    for kind, read in (
        (report_packets.REPORT, report_packets.read_report),
        (report_packets.PROGRESS, report_packets.read_progress),
        (report_packets.ENDED, report_packets.read_ended),
    ):
        try:
            read(bytes((kind,)) + data)
        except WireError:
            continue


@pytest.mark.parametrize("rows", [b"\x91\x91\x01", b"\x91\x95\x01\x02\x03\x04\xa1x", b"\x01"])
def test_progress_of_another_shape(rows: bytes) -> None:
    """Rows that are too short, or not of numbers, are refused."""
    with pytest.raises(WireError):
        report_packets.read_progress(bytes((report_packets.PROGRESS, 0, 0, 0, 1)) + rows)
