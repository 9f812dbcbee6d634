"""Report packets: what relays tell of calls in flight, between the packets of `wire`.

Pure: values in, bytes out, and back.

    BEGUN      0x04                           a relay begins: what its predecessor had open is lost
    REPORT     0x05 | msgpack array of exchanges, without bodies
    PROGRESS   0x06 | round u32be | msgpack array of [call number, request bytes, response bytes, status,
                                                      first response byte]
    ENDED      0x07 | msgpack array of call numbers     they are over, and no record comes

They carry no hand-over numbers: what is lost of them costs no call. Each round tells of every call that was
reported, at most once a second; a reported call ends by its record, by ENDED or by BEGUN.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from sidecar.exchange import Body, Exchange
from sidecar.handoff import wire

BEGUN: Final = 4
REPORT: Final = 5
PROGRESS: Final = 6
ENDED: Final = 7

_ROUND: Final = struct.Struct(">BI")
_ROUNDS: Final = 1 << 32
_ROW_FIELDS: Final = 5
# Room for exchanges in each REPORT beside the kind and the longest array header.
REPORT_BYTES: Final = wire.MAX_PACKET_BYTES - 6
_NO_BODY: Final = Body()
_EMPTIED: Final = (
    "request_head",
    "response_head",
    "target",
    "method",
    "traceparent",
    "model_request_id",
    "grpc_message",
)
_EMPTIED_LISTS: Final = ("request_headers", "response_headers", "request_trailers", "response_trailers")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call in flight has come."""

    call_number: int
    request_bytes: int
    response_bytes: int
    # 0 before there was one.
    status: int
    # By the relay's clock, nanoseconds; -1 before it came.
    first_response_byte: int


@dataclass(frozen=True, slots=True)
class Round:
    """Rows of one round; a call that whole rounds pass over is over."""

    number: int
    rows: list[Progress]


def pack_report(call: Exchange) -> bytes:
    """`call` as it is now, without its bodies; without the texts of the wire too where they fill a packet."""
    packed = _pack_less(call, {"request": _NO_BODY, "response": _NO_BODY})
    if len(packed) > REPORT_BYTES:
        less: dict[str, Any] = {"request": _NO_BODY, "response": _NO_BODY}
        packed = _pack_less(call, less | dict.fromkeys(_EMPTIED, b"") | dict.fromkeys(_EMPTIED_LISTS, ()))
    return packed


def _pack_less(call: Exchange, instead: dict[str, Any]) -> bytes:
    """`call` packed with other values in some fields; it is open, so its own are put back."""
    own = {name: getattr(call, name) for name in instead}
    try:
        for name, value in instead.items():
            setattr(call, name, value)
        return wire.pack_exchange(call)
    finally:
        for name, value in own.items():
            setattr(call, name, value)


def begun_packet() -> bytes:
    """A BEGUN."""
    return bytes((BEGUN,))


def report_packet(packed: Sequence[bytes]) -> bytes:
    """A REPORT of exchanges that are packed already; their total must not exceed REPORT_BYTES."""
    return b"".join((bytes((REPORT,)), wire.array_header(len(packed)), *packed))


def progress_packet(number: int, rows: Iterable[tuple[int, int, int, int, int]]) -> bytes:
    """A PROGRESS of that round."""
    return _ROUND.pack(PROGRESS, number % _ROUNDS) + _packed(list(rows))


def ended_packet(call_numbers: Sequence[int]) -> bytes:
    """An ENDED."""
    return bytes((ENDED,)) + _packed(call_numbers)


def read_report(packet: bytes) -> list[Exchange]:
    """The exchanges of a REPORT; raises WireError."""
    return wire.read_exchanges(memoryview(packet)[1:])


def read_progress(packet: bytes) -> Round:
    """What a PROGRESS tells; raises WireError."""
    if len(packet) < _ROUND.size:
        raise wire.WireError("progress is too short")
    _, number = _ROUND.unpack_from(packet)
    rows = wire.unpack(memoryview(packet)[_ROUND.size :])
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        raise wire.WireError("progress has another shape")
    return Round(number, [Progress(*row) for row in rows])


def read_ended(packet: bytes) -> list[int]:
    """The call numbers of an ENDED; raises WireError."""
    numbers = wire.unpack(memoryview(packet)[1:])
    if not isinstance(numbers, list) or not all(isinstance(each, int) for each in numbers):
        raise wire.WireError("ended has another shape")
    return numbers


def _is_row(row: Any) -> bool:
    return isinstance(row, list) and len(row) == _ROW_FIELDS and all(isinstance(each, int) for each in row)


def _packed(value: Any) -> bytes:
    return bytes(msgpack.packb(value))
