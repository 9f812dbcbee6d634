"""gRPC tails: the end of a stream of messages, entered somewhere; and gRPC-Web, whose trailers are a frame.

Pure. A message of gRPC is a flag, a length and so many bytes (grpc.io, PROTOCOL-HTTP2); where one begins can
only be told by walking. From its middle a stream is therefore read backwards: a place counts as a beginning
where lengths lead from it exactly to the stream's end. What the first such place leads to is not used, since
it may be one by chance; from the next on, chance would have to repeat itself.
"""

import base64
import re
import struct
from dataclasses import dataclass
from typing import Final

from sidecar.recorder.payloads.grpc_details import STATUS_DETAILS

_PREFIX: Final = struct.Struct(">BI")
# A flag, and the highest byte of a length below 16 MiB; may overlap.
_LIKE_PREFIX: Final = re.compile(rb"(?=[\0\1]\0...)", re.DOTALL)
_TRAILERS: Final = 0x80
# What is searched of a tail: zeros look like a message at every place.
MOST_BYTES: Final = 256 << 10
_BASE64_CHUNK: Final = re.compile(rb"[A-Za-z0-9+/]+={0,2}")


def messages_in_tail(tail: bytes) -> bytes:
    """The whole messages that `tail` ends with, within MOST_BYTES; empty where none can be told."""
    tail = tail[-MOST_BYTES:]
    good = {len(tail)}
    for place in [match.start() for match in _LIKE_PREFIX.finditer(tail)][::-1]:
        if place + _PREFIX.size + int.from_bytes(tail[place + 1 : place + 5], "big") in good:
            good.add(place)
    place = min(good)
    while place < len(tail):
        size = int.from_bytes(tail[place + 1 : place + 5], "big")
        place += _PREFIX.size + size
        if size:  # a row of zeros is a row of empty messages
            break
    return tail[place:]


@dataclass(frozen=True, slots=True)
class WebFrames:
    """A body of gRPC-Web: its messages as gRPC frames them, and what its trailers say."""

    messages: bytes
    # -1 where no trailers came.
    status: int = -1
    message: bytes = b""
    # Its `grpc-status-details-bin`.
    details: bytes = b""


def read_web_frames(data: bytes, is_text: bool) -> WebFrames | None:
    """The frames of a body (grpc/grpc, PROTOCOL-WEB), which `is_text` where it is base64; None for none."""
    if is_text:
        try:
            # Each flush of a server is encoded by itself, with padding.
            data = b"".join(base64.b64decode(_whole(chunk)) for chunk in _BASE64_CHUNK.findall(data))
        except ValueError:
            return None
    place = 0
    while place + _PREFIX.size <= len(data):
        flag, size = _PREFIX.unpack_from(data, place)
        if flag & _TRAILERS:
            return _with_trailers(data[:place], data[place + _PREFIX.size : place + _PREFIX.size + size])
        place += _PREFIX.size + size
    return WebFrames(data)


def _whole(chunk: bytes) -> bytes:
    """What can be decoded of a chunk that may have been cut."""
    return chunk[: len(chunk) & ~3]


def _with_trailers(messages: bytes, trailers: bytes) -> WebFrames:
    status, message, details = -1, b"", b""
    for line in trailers.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"grpc-status" and value.strip().isdigit():
            status = int(value.strip()[:3])
        elif name.strip().lower() == b"grpc-message":
            message = value.strip()
        elif name.strip().lower() == STATUS_DETAILS:
            details = value.strip()
    return WebFrames(messages, status, message, details)
