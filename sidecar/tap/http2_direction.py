"""HTTP/2 direction: what one side of a connection sends, frame by frame.

Pure. It walks over the frames of each read: DATA and what it need not know pass at once, also in pieces;
header blocks, and the few frames that it reads, are held until they are complete. What a frame means is the
listener's business, which it tells. Frames without a call are counted (`Floods`).
"""

import struct
from typing import Final, Protocol

from sidecar.protocols import (
    BlockLimitError,
    FrameError,
    HeaderBlock,
    HpackDecoder,
    append_to_block,
    find_header_block,
    http2,
    read_settings_frame,
)
from sidecar.tap.http2_floods import CONTINUATION_FLOOD, EMPTY_DATA_FLOOD, HEADERS_FLOOD, Floods, Work
from sidecar.tap.http2_receiver import Receiver

Fields = list[tuple[bytes, bytes]]

_DATA: Final = http2.DATA
_HEADERS: Final = http2.HEADERS
_RST_STREAM: Final = http2.RST_STREAM
_SETTINGS: Final = http2.SETTINGS
_PUSH_PROMISE: Final = http2.PUSH_PROMISE
_GOAWAY: Final = http2.GOAWAY
_CONTINUATION: Final = http2.CONTINUATION
_HEAD: Final = http2.HEAD_BYTES
_BLOCKS: Final = (_HEADERS, _PUSH_PROMISE)
_END_STREAM: Final = http2.END_STREAM
_END_HEADERS: Final = http2.END_HEADERS
_PADDED: Final = http2.PADDED
# What makes a block more than the payload of one frame, where END_HEADERS is not alone.
_ODD_BLOCK: Final = _END_HEADERS | _PADDED | http2.HAS_PRIORITY
_MOST_BLOCK_BYTES: Final = 256 << 10
# A block needs another frame for so many bytes at most: more frames than that do nothing.
_CONTINUATION_BYTES: Final = 4 << 10
# A block that is held and this large costs each read; reads below the second size are its crumbs.
_LARGE_HELD: Final = 16 << 10
_CRUMB: Final = 1 << 10
# Length in two parts, kind, flags, stream.
_read_head: Final = struct.Struct(">BHBBI").unpack_from
# Frames that are read whole; larger ones are none that a peer needs.
_READ_WHOLE: Final = (_SETTINGS, _RST_STREAM, _GOAWAY)
_MOST_READ_BYTES: Final = 16 << 10


class Listener(Protocol):
    """Who is told what a direction sends. `ends` is not 0 where the stream ends with it in this direction."""

    def fields(self, stream: int, fields: Fields, weight: int, ends: int, now: int) -> bytes:
        """A header block whose names and values hold up to `weight` bytes; what is to be appended to it."""

    def late_fields(
        self, stream: int, fields: Fields, weight: int, ends: int, times: tuple[int, int]
    ) -> bytes:
        """The same of a block that began with an earlier read, at the first of `times`, and ends now."""

    def data(self, stream: int, piece: bytes, ends: int, now: int) -> None:
        """A piece of a body, without padding; empty only where it ends."""

    def reset(self, stream: int, code: int, now: int) -> None:
        """RST_STREAM."""

    def going_away(self, last_stream: int, now: int) -> None:
        """GOAWAY."""


class Direction:
    """One side's frames, and what is held of them."""

    __slots__ = (
        "_data_ends",
        "_data_left",
        "_data_stream",
        "_decoder",
        "_floods",
        "_listener",
        "_own",
        "_peer",
        "_skip",
        "_tell_data",
        "_tell_fields",
        "_work",
        "held",
        "held_since",
    )

    def __init__(
        self, listener: Listener, own: Receiver, peer: Receiver, *, floods: Floods, work: Work, skip: int
    ) -> None:
        """`own` and `peer`: what this and the other side take. `skip` bytes come before the first frame."""
        # Bound once: each is called for every call of a model.
        self._tell_fields = listener.fields
        self._tell_data = listener.data
        self._listener = listener
        self._own = own
        self._peer = peer
        self._floods = floods
        self._work = work
        # Bytes that pass unread: the preface, the rest of a frame, padding.
        self._skip = skip
        self._data_left = 0
        self._data_stream = 0
        self._data_ends = 0
        self._decoder = HpackDecoder()
        # What came and was not sent on: the beginning of a frame, or of a header block; since when.
        self.held = b""
        self.held_since = -1

    @property
    def left_of_frame(self) -> int:
        """How much the frame that is being sent on lacks; 0 between frames."""
        return self._data_left + self._skip

    @property
    def weight(self) -> int:
        """Roughly how many bytes are kept of it."""
        return len(self.held) + self._decoder.weight

    def follow(self, data: bytes, now: int) -> bytes:  # noqa: PLR0912, PLR0915  (flat: the hot path)
        """What is to be sent on, now that `data` came; the rest is held.

        Raises FrameError, HpackError and FloodError: then nothing is sent on of `data` or of what was held.
        """
        if self.held:
            data = self._go_on(data)
        out: list[bytes] = []
        place = copied = 0
        size = len(data)
        decoder = self._decoder
        while place < size:
            if self._data_left:
                place = self._pass_data(data, place, now)
                continue
            if self._skip:
                step = min(self._skip, size - place)
                self._skip -= step
                place += step
                continue
            if size - place < _HEAD:
                break
            high, low, kind, flags, stream = _read_head(data, place)
            stream &= 0x7FFFFFFF
            end = place + _HEAD + (high << 16 | low)
            if kind == _DATA:
                if flags & _PADDED or end > size:
                    place = self._begin_data(data, place, end, now)
                    if place < 0:
                        place = ~place
                        break
                else:
                    ends = flags & _END_STREAM
                    if ends or end > place + _HEAD:
                        self._tell_data(stream, data[place + _HEAD : end], ends, now)
                    else:
                        self._floods.frames(1, EMPTY_DATA_FLOOD, self._work, now)
                    place = end
            elif kind == _HEADERS and flags & _ODD_BLOCK == _END_HEADERS:
                if end > size:
                    if end - place > _MOST_BLOCK_BYTES:
                        raise BlockLimitError("header block is too large")
                    break
                fields = decoder.decode(data[place + _HEAD : end])
                added = self._tell_fields(stream, fields, decoder.list_bytes, flags & _END_STREAM, now)
                if added:
                    length = end - place - _HEAD + len(added)
                    if length <= self._peer.frame_most:
                        out += (data[copied:place], length.to_bytes(3, "big"), data[place + 3 : end], added)
                    else:
                        found = HeaderBlock(end, b"", place, end)
                        out += (
                            data[copied:place],
                            append_to_block(data, place, found, added, self._peer.frame_most),
                        )
                    copied = end
                place = end
            elif kind in _BLOCKS:
                block = find_header_block(data, place)
                if block is None:
                    break
                added = self._read_block(block, kind, stream, flags & _END_STREAM, now)
                if added:
                    out += (
                        data[copied:place],
                        append_to_block(data, place, block, added, self._peer.frame_most),
                    )
                    copied = block.end
                place = block.end
            else:
                place = self._control(data, place, end, now)
                if place < 0:
                    place = ~place
                    break
        if place < size or self.held:
            self._hold(data, place, now)
        if not copied:
            return data if place == size else data[:place]
        out.append(data[copied:place])
        return b"".join(out)

    # -- what is held

    def _go_on(self, data: bytes) -> bytes:
        """What was held and `data`; a header block that was held began when its first byte came."""
        data = self.held + data
        if len(data) > 3 and data[3] == _HEADERS:
            self._tell_fields = self._tell_late_fields
        return data

    def _tell_late_fields(self, stream: int, fields: Fields, weight: int, ends: int, now: int) -> bytes:
        self._tell_fields = self._listener.fields
        return self._listener.late_fields(stream, fields, weight, ends, (self.held_since, now))

    def _hold(self, data: bytes, place: int, now: int) -> None:
        """Hold `data` from `place` on. Raises FloodError where a large block comes in crumbs."""
        size = len(data) - place
        if size > _LARGE_HELD and len(data) - len(self.held) < _CRUMB:  # each read walks over all of it
            self._floods.frames(1, CONTINUATION_FLOOD, self._work, now)
        if place == len(data):
            self.held_since = -1
        elif not self.held or place >= len(self.held):
            self.held_since = now
        self._tell_fields = self._listener.fields
        self.held = data[place:]

    def take_held(self) -> bytes:
        """What is held, to be sent on: it is no longer."""
        held, self.held = self.held, b""
        self.held_since = -1
        return held

    def stop(self) -> None:
        """It is not followed any more: forget all but what is held."""
        self._tell_fields = self._listener.fields
        self._decoder = HpackDecoder()

    # -- DATA (section 6.1) that is padded, or comes in pieces

    def _begin_data(self, data: bytes, frame: int, end: int, now: int) -> int:
        """Where the payload begins; below zero, ~frame, while the pad length has not come."""
        flags = data[frame + 4]
        place = frame + _HEAD
        padding = 0
        if flags & _PADDED:
            if place == len(data):
                return ~frame
            padding = data[place]
            place += 1
        length = end - place - padding
        if length < 0:
            raise FrameError("more padding than frame")
        self._data_stream = int.from_bytes(data[frame + 5 : frame + _HEAD], "big") & 0x7FFFFFFF
        self._data_left = length
        self._data_ends = flags & _END_STREAM
        self._skip = padding
        if not length:
            if self._data_ends:
                self._tell_data(self._data_stream, b"", self._data_ends, now)
            else:
                self._floods.frames(1, EMPTY_DATA_FLOOD, self._work, now)
        return place

    def _pass_data(self, data: bytes, place: int, now: int) -> int:
        piece = data[place : place + self._data_left]
        self._data_left -= len(piece)
        self._tell_data(self._data_stream, piece, 0 if self._data_left else self._data_ends, now)
        return place + len(piece)

    # -- header blocks of several frames, or with padding or priority

    def _read_block(self, block: HeaderBlock, kind: int, stream: int, ends: int, now: int) -> bytes:
        """What is to be appended to it."""
        idle = block.frames - 1 - len(block.fragment) // _CONTINUATION_BYTES
        if idle > 0:
            self._floods.frames(idle, CONTINUATION_FLOOD, self._work, now)
        decoder = self._decoder
        fields = decoder.decode(block.fragment)
        if kind == _PUSH_PROMISE:  # only its effect on the table matters: what is pushed is not recorded
            self._floods.frames(1, HEADERS_FLOOD, self._work, now)
            return b""
        return self._tell_fields(stream, fields, decoder.list_bytes, ends, now)

    # -- the rest

    def _control(self, data: bytes, frame: int, end: int, now: int) -> int:
        """Where the frame ends, or its unread payload begins; below zero, ~frame, while it is not whole."""
        kind = data[frame + 3]
        start = frame + _HEAD
        if kind == _CONTINUATION:
            raise FrameError("continuation of nothing")
        if kind not in _READ_WHOLE:
            self._floods.frame(kind, self._work, now)
            if end <= len(data):
                return end
            self._skip = end - start
            return start
        if end - start > _MOST_READ_BYTES:
            raise FrameError("frame is too large")
        if end > len(data):
            return ~frame
        stream = int.from_bytes(data[frame + 5 : start], "big") & 0x7FFFFFFF
        self._read_control(kind, data[frame + 4], stream, data[start:end], now)
        return end

    def _read_control(self, kind: int, flags: int, stream: int, payload: bytes, now: int) -> None:
        if kind == _RST_STREAM:  # the listener knows what it is worth
            self._listener.reset(stream, int.from_bytes(payload[:4], "big"), now)
            return
        self._floods.frame(kind, self._work, now)
        if kind == _GOAWAY:
            self._listener.going_away(int.from_bytes(payload[:4], "big") & 0x7FFFFFFF, now)
        elif flags & http2.ACK:
            self._peer.acknowledged(self._decoder)
        else:
            self._own.announce(read_settings_frame(payload))
