"""gRPC over HTTP/2: message framing, status text and timeouts (grpc.io, PROTOCOL-HTTP2).

Pure: bytes in, values out.
"""

import re
import struct
from dataclasses import dataclass
from typing import Final

_PREFIX: Final = struct.Struct(">BI")
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_NANOSECONDS: Final = {
    b"H": 3_600_000_000_000,
    b"M": 60_000_000_000,
    b"S": 1_000_000_000,
    b"m": 1_000_000,
    b"u": 1_000,
    b"n": 1,
}


@dataclass(frozen=True, slots=True)
class Messages:
    """The messages of one direction of a call; `is_cut` where bytes follow the last whole one."""

    messages: tuple["Message", ...]
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Message:
    """One Length-Prefixed-Message. `is_compressed`: by what `grpc-encoding` names."""

    is_compressed: bool
    data: bytes


def split_messages(data: bytes, most: int) -> Messages | None:
    """The messages in `data`, `most` of them; None where the bytes are no such framing."""
    messages: list[Message] = []
    place = 0
    while place + _PREFIX.size <= len(data) and len(messages) < most:
        flag, size = _PREFIX.unpack_from(data, place)
        if flag > 1:
            return None
        start = place + _PREFIX.size
        if start + size > len(data):
            break
        messages.append(Message(flag == 1, data[start : start + size]))
        place = start + size
    return Messages(tuple(messages), place < len(data))


def decode_status_message(value: bytes) -> bytes:
    """What a percent-encoded `grpc-message` says; broken escapes stay as they are."""
    return _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), value)


def timeout_ns(value: bytes) -> int | None:
    """A `grpc-timeout` in nanoseconds; None where it is none."""
    match = _TIMEOUT.fullmatch(value)
    return int(match[1]) * _NANOSECONDS[match[2]] if match else None
