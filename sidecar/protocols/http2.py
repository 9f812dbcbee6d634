"""HTTP/2 frames (RFC 9113): their kinds, flags and settings, and whole header blocks found in a buffer.

Pure. The tap reads frame heads by itself, byte by byte of its hot path; here is what names them, and what is
read more seldom.

    length u24 | kind u8 | flags u8 | reserved bit, stream u31 | payload            section 4.1
"""

import struct
from dataclasses import dataclass
from typing import Final

HEAD_BYTES: Final = 9

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

# Flags.
END_STREAM: Final = 0x01
ACK: Final = 0x01
END_HEADERS: Final = 0x04
PADDED: Final = 0x08
HAS_PRIORITY: Final = 0x20

# Identifiers of settings (section 6.5.2), and what holds before any is sent.
HEADER_TABLE_SIZE: Final = 1
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6
DEFAULT_FRAME_BYTES: Final = 16 << 10

# Error codes (section 7).
NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
REFUSED_STREAM: Final = 7
ENHANCE_YOUR_CALM: Final = 11
LAST_STREAM: Final = (1 << 31) - 1

_SETTING: Final = struct.Struct(">HI")
# A header block, with the frames it comes in; more is nothing that a server takes.
_MOST_BLOCK_BYTES: Final = 256 << 10
_MOST_BLOCK_FRAMES: Final = 128


class FrameError(ValueError):
    """Frames that break the protocol, or go beyond a limit. Never holds what was in them."""


class BlockLimitError(FrameError):
    """A header block in more bytes or frames than are read."""


@dataclass(frozen=True, slots=True)
class HeaderBlock:
    """A header block, complete in a buffer."""

    # Where the frame sequence ends in the buffer.
    end: int
    # The fragments, joined.
    fragment: bytes
    # Head of the last frame, and where the last fragment ends: before its padding.
    last_frame: int
    fragment_end: int
    # How many frames it came in.
    frames: int = 1


def find_header_block(data: bytes, start: int) -> HeaderBlock | None:
    """The block whose HEADERS or PUSH_PROMISE frame begins at `start`; None while it is not complete.

    Raises FrameError.
    """
    stream = data[start + 5 : start + 9]
    frame = start
    fragments: list[bytes] = []
    while True:
        if frame - start > _MOST_BLOCK_BYTES or len(fragments) > _MOST_BLOCK_FRAMES:
            raise BlockLimitError("header block is too large")
        if len(data) - frame < HEAD_BYTES:
            return None
        length = int.from_bytes(data[frame : frame + 3], "big")
        if length > _MOST_BLOCK_BYTES:
            raise BlockLimitError("header block is too large")
        if frame > start and (data[frame + 3] != CONTINUATION or data[frame + 5 : frame + 9] != stream):
            raise FrameError("header block is interrupted")  # section 6.10
        end = frame + HEAD_BYTES + length
        if end > len(data):
            return None
        first, last = _fragment(data, frame, end)
        fragments.append(data[first:last])
        if data[frame + 4] & END_HEADERS:
            fragment = fragments[0] if len(fragments) == 1 else b"".join(fragments)
            return HeaderBlock(end, fragment, frame, last, len(fragments))
        frame = end


def _fragment(data: bytes, frame: int, end: int) -> tuple[int, int]:
    """Where the fragment of a frame begins and ends: without padding, priority and promised stream."""
    kind, flags = data[frame + 3], data[frame + 4]
    first, last = frame + HEAD_BYTES, end
    if kind == CONTINUATION:
        return first, last
    if flags & PADDED:
        if first == end:
            raise FrameError("frame without its pad length")
        last -= data[first]
        first += 1
    if kind == PUSH_PROMISE:
        first += 4
    elif flags & HAS_PRIORITY:
        first += 5
    if first > last:
        raise FrameError("more padding than frame")
    return first, last


def append_to_block(data: bytes, start: int, block: HeaderBlock, extra: bytes, most: int) -> bytes:
    """The frames of the block that begins at `start`, with `extra` at the end of its fragment.

    `most` is the receiver's limit on a frame's payload: where `extra` does not fit the last frame it gets a
    CONTINUATION of its own.
    """
    last = block.last_frame
    length = int.from_bytes(data[last : last + 3], "big")
    if length + len(extra) <= most:
        head = (length + len(extra)).to_bytes(3, "big") + data[last + 3 : last + HEAD_BYTES]
        rest = data[last + HEAD_BYTES : block.fragment_end]
        return b"".join((data[start:last], head, rest, extra, data[block.fragment_end : block.end]))
    flags = bytes((data[last + 4] & ~END_HEADERS,))
    stream = data[last + 5 : last + HEAD_BYTES]
    more = len(extra).to_bytes(3, "big") + bytes((CONTINUATION, END_HEADERS)) + stream
    return b"".join((data[start : last + 4], flags, data[last + 5 : block.end], more, extra))


def read_settings_frame(payload: bytes) -> dict[int, int]:
    """Identifiers and values, the last of each; raises FrameError."""
    if len(payload) % 6:
        raise FrameError("settings of another length")
    return dict(_SETTING.iter_unpack(payload))


def goaway_frame(last_stream: int, code: int) -> bytes:
    """GOAWAY (section 6.8) without debug data."""
    return (
        b"\0\0\x08" + bytes((GOAWAY, 0)) + bytes(4) + last_stream.to_bytes(4, "big") + code.to_bytes(4, "big")
    )


# SETTINGS that change nothing: what a server's connection may begin with (section 3.4).
EMPTY_SETTINGS: Final = b"\0\0\0" + bytes((SETTINGS, 0)) + bytes(4)
