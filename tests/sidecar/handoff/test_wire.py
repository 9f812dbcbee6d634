"""The wire format of the hand-off: what goes in comes out, and bad bytes give only WireError."""

import contextlib
import dataclasses
from collections import deque

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.exchange import Body, EndedBy, Exchange, Protocol, Reason
from sidecar.handoff import MAX_PACKET_BYTES, WireError, pack_exchange, unpack_exchange, wire

FULL = Exchange(
    call_number=7,
    route=2,
    protocol=Protocol.GRPC,
    started=1 << 60,
    started_wall_ns=1_790_000_000_000_000_000,
    upstream_connected=3,
    request_completed=4,
    first_response_byte=5,
    ended=6,
    ended_by=EndedBy.CLIENT,
    client_address="[::1]:50000",
    request_id=b"id",
    client_request_id=b"\xff",
    model_request_id=b"theirs",
    traceparent=b"00-aa-bb-01",
    method=b"POST",
    target=b"/x?\xfe",
    status=200,
    grpc_status=13,
    grpc_message=b"no%20",
    request_headers=[(b"a", b"1"), (b"a", b"2")],
    response_headers=[(b"b", b"\x80")],
    request_head=b"POST / HTTP/1.1\r\n\r\n",
    response_head=b"HTTP/1.1 200 OK\r\n\r\n",
    request_trailers=[(b"c", b"")],
    response_trailers=[(b"grpc-status", b"13")],
    request=Body([b"ab", b"c"], 3, 10, [(1, 2), (2, 8)], 2),
    response=Body([b"x"], 3, 9, [(9, 1)], 1, deque([b"y", b"z"]), 2),
    reset_code=8,
    reason=Reason.ERROR,
    sampling_fraction=0.25,
    flags=["framing_ambiguous"],
    accepted=5,
    relay_wait_ns=77,
    segment=2,
    is_continued=True,
)


def test_every_field_survives() -> None:
    """An exchange with every field set comes back equal, types of enums and pairs included."""
    changed = [
        field.name
        for field in dataclasses.fields(Exchange)
        if field.name not in ("is_reported", "segment_started", "response_is_events")  # stay in the relay
        and getattr(FULL, field.name) == getattr(Exchange(0, 0, Protocol.HTTP1, 0), field.name)
    ]
    assert changed == [], "set every field in FULL, so that a forgotten one is noticed"
    back = unpack_exchange(pack_exchange(FULL))
    assert back == FULL
    assert isinstance(back.protocol, Protocol)
    assert isinstance(back.ended_by, EndedBy)
    assert isinstance(back.reason, Reason)
    assert back.request_headers[0] == (b"a", b"1")


@pytest.mark.parametrize("count", [1, 15, 16, 70_000])
def test_batch_of_any_length_reads_back(count: int) -> None:
    """A batch's array header fits its count, at each of msgpack's three widths."""
    small = wire.pack_exchange(Exchange(1, 0, Protocol.HTTP1, 2))
    packet = wire.batch_packet(41, [small] * count)
    assert wire.read_numbered(packet) == (wire.BATCH, 41)
    assert len(wire.read_batch(packet)) == count


@pytest.mark.parametrize("size", [1, wire.PART_BYTES, wire.PART_BYTES + 1, 5 * wire.PART_BYTES])
def test_parts_join_to_the_whole(size: int) -> None:
    """The slices of the parts, joined in order, are the packed exchange, and no packet is over the limit."""
    packed = bytes(range(256)) * (size // 256 + 1)
    packets = wire.part_packets(9, packed[:size])
    assert all(len(packet) <= MAX_PACKET_BYTES for packet in packets)
    read = [wire.read_part(packet) for packet in packets]
    assert [index for index, _, _ in read] == list(range(len(packets)))
    assert {count for _, count, _ in read} == {len(packets)}
    assert b"".join(piece for _, _, piece in read) == packed[:size]


@given(st.binary(max_size=300))
def test_garbage_gives_only_wire_errors(garbage: bytes) -> None:
    """No bytes make a reader raise anything but WireError."""
    for read in (wire.read_numbered, wire.read_part, wire.read_batch, unpack_exchange):
        with contextlib.suppress(WireError):
            read(garbage)


@given(st.data())
def test_damaged_exchanges_give_only_wire_errors(data: st.DataObject) -> None:
    """A value of another type in any place is read or refused with WireError, never a crash."""
    row = msgpack.unpackb(pack_exchange(FULL), raw=False)
    position = data.draw(st.integers(0, len(row) - 1))
    row[position] = data.draw(
        st.none() | st.integers(0, 9) | st.binary() | st.lists(st.integers(0, 9), max_size=4)
    )
    with contextlib.suppress(WireError):
        unpack_exchange(msgpack.packb(row))
