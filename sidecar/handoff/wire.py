"""Wire: the packets between relay and recorder, both directions. Pure: values in, bytes out, and back.

One SOCK_SEQPACKET pair for each relay slot carries packets of at most MAX_PACKET_BYTES:

    BATCH   0x01 | first number u64be | msgpack array of exchanges, numbered first, first + 1, ...
    PART    0x02 | number u64be | index u32be | count u32be | slice of the msgpack of one exchange
    MARK    0x03 | number u64be          every number up to it has been sent, or is lost

Kinds from 0x04 tell of calls in flight: see `report_packets`.

An exchange is a msgpack array of its fields in the order of the dataclass, each body an array of its own
fields, with its tail only where it has one. Both ends are of one version, as the parent starts them from the
same installation; an array of another length is a WireError. Strings of the wire are bin, text of ours is
str.

Numbers count the hand-overs of one slot from 1 without holes, over all relays that hold the slot in a run.
"""

import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

import msgpack

from sidecar.exchange import Body, EndedBy, Exchange, Protocol, Reason

MAX_PACKET_BYTES: Final = 64 << 10

BATCH: Final = 1
PART: Final = 2
MARK: Final = 3

_NUMBERED: Final = struct.Struct(">BQ")
_PART: Final = struct.Struct(">BQII")
# Without its tail, which few bodies have, and with it.
_BODY_FIELDS: Final = (5, 7)
_EXCHANGE_FIELDS: Final = 31
# An exchange is made of its first fields by position, and the others, less what stays in the relay, by name.
_KNOWN_FIRST: Final = 6
_STAYS: Final = 3
_KNOWN_LATER: Final = tuple(field.name for field in fields(Exchange))[_KNOWN_FIRST:-_STAYS]
# A slice for each PART, and room for exchanges in each BATCH beside the longest array header (5 bytes).
PART_BYTES: Final = MAX_PACKET_BYTES - _PART.size
BATCH_BYTES: Final = MAX_PACKET_BYTES - _NUMBERED.size - 5

_pack: Final = msgpack.Packer(use_bin_type=True, autoreset=True).pack


class WireError(ValueError):
    """Bytes that no relay of this version sends. Never holds payload."""


def _body_row(body: Body) -> tuple[Any, ...]:
    head = (body.captured_pieces, body.captured, body.size, body.piece_times, body.piece_count)
    return head if body.tail_pieces is None else (*head, list(body.tail_pieces), body.tail)


def pack_exchange(call: Exchange) -> bytes:
    """One exchange as msgpack. Hot path, so written out flat: about 1.5 µs for a small call."""
    request = call.request
    response = call.response
    return _pack(
        (
            call.call_number,
            call.route,
            call.protocol,
            call.started,
            call.started_wall_ns,
            call.upstream_connected,
            call.request_completed,
            call.first_response_byte,
            call.ended,
            call.ended_by,
            call.client_address,
            call.request_id,
            call.client_request_id,
            call.model_request_id,
            call.traceparent,
            call.method,
            call.target,
            call.status,
            call.grpc_status,
            call.grpc_message,
            call.request_headers,
            call.response_headers,
            call.request_head,
            call.response_head,
            call.request_trailers,
            call.response_trailers,
            _body_row(request),
            _body_row(response),
            call.reset_code,
            call.reason,
            (
                call.sampling_fraction,
                call.flags,
                call.accepted,
                call.relay_wait_ns,
                call.segment,
                call.is_continued,
            ),
        )
    )


def batch_packet(first: int, packed: Sequence[bytes]) -> bytes:
    """A BATCH of exchanges that are packed already; their total must not exceed BATCH_BYTES."""
    return b"".join((_NUMBERED.pack(BATCH, first), array_header(len(packed)), *packed))


def array_header(count: int) -> bytes:
    """What stands before the items of a msgpack array: fixarray, array 16, array 32."""
    if count < 16:
        return bytes((0x90 | count,))
    if count < 1 << 16:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")


def part_packets(number: int, packed: bytes) -> list[bytes]:
    """The PARTs of one exchange that is too big for a packet, in order."""
    count = -(-len(packed) // PART_BYTES)
    return [
        _PART.pack(PART, number, index, count) + packed[index * PART_BYTES : (index + 1) * PART_BYTES]
        for index in range(count)
    ]


def mark_packet(number: int) -> bytes:
    """A MARK: every number up to `number` has been sent, or is lost."""
    return _NUMBERED.pack(MARK, number)


def read_numbered(packet: bytes) -> tuple[int, int]:
    """Kind and (first) number of any packet; raises WireError."""
    if len(packet) < _NUMBERED.size:
        raise WireError("packet is too short")
    kind, number = _NUMBERED.unpack_from(packet)
    if kind not in (BATCH, PART, MARK):
        raise WireError(f"no packet of kind {kind}")
    return kind, number


def read_part(packet: bytes) -> tuple[int, int, bytes]:
    """Index, count and slice of a PART; raises WireError."""
    if len(packet) <= _PART.size:
        raise WireError("part is too short")
    _, _, index, count = _PART.unpack_from(packet)
    if not index < count:
        raise WireError("part lies beyond its count")
    return index, count, packet[_PART.size :]


def read_batch(packet: bytes) -> list[Exchange]:
    """The exchanges of a BATCH; raises WireError."""
    return read_exchanges(memoryview(packet)[_NUMBERED.size :])


def read_exchanges(packed: memoryview) -> list[Exchange]:
    """A msgpack array of exchanges; raises WireError."""
    rows = unpack(packed)
    if not isinstance(rows, list):
        raise WireError("no array of exchanges")
    return [_exchange(row) for row in rows]


def unpack_exchange(packed: bytes) -> Exchange:
    """The inverse of `pack_exchange`; raises WireError."""
    return _exchange(unpack(packed))


def unpack(packed: bytes | memoryview) -> Any:
    """The value that `packed` says; raises WireError."""
    # Bounded by the packet (or by Inbox's limit for parts): msgpack refuses lengths beyond its input.
    try:
        return msgpack.unpackb(packed, raw=False, use_list=True, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise WireError(f"not msgpack ({type(error).__name__})") from None


def _exchange(row: Any) -> Exchange:
    if not isinstance(row, list) or len(row) != _EXCHANGE_FIELDS:
        raise WireError("exchange has another shape")
    try:
        row[2] = Protocol(row[2])
        row[9] = EndedBy(row[9])
        for position in (20, 21, 24, 25):
            row[position] = [(name, value) for name, value in row[position]] or ()
        row[26] = _body(row[26])
        row[27] = _body(row[27])
        row[29] = Reason(row[29])
        row[30:] = row[30]
        return Exchange(*row[:_KNOWN_FIRST], **dict(zip(_KNOWN_LATER, row[_KNOWN_FIRST:], strict=True)))
    except (TypeError, ValueError) as error:
        # The error's own text could quote a value of the call.
        raise WireError(f"exchange has another shape ({type(error).__name__})") from None


def _body(row: Any) -> Body:
    if not isinstance(row, list) or len(row) not in _BODY_FIELDS:
        raise WireError("body has another shape")
    row[3] = [(time, size) for time, size in row[3]]
    row[5:6] = map(deque, row[5:6])
    return Body(*row)
