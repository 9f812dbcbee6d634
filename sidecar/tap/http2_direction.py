"""HTTP/2 direction: what one side of a connection sends, frame by frame.

Pure. It walks over the frames of each read: DATA and what it need not know pass at once, also in pieces;
header blocks, and the few frames that it reads, are held until they are complete. What a frame means is the
tap's business, which it tells.
"""

import struct
from collections.abc import Callable
from typing import Final, Protocol

from sidecar.protocols import (
    FIELD_OVERHEAD,
    STATIC_FIELD_BYTES,
    FrameError,
    HeaderBlock,
    HpackDecoder,
    append_to_block,
    find_header_block,
    http2,
    literal_without_indexing,
    read_settings_frame,
)
from sidecar.tap.request_id import HEADER, MAX_CLIENT_ID

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
_ODD_BLOCK: Final = _END_HEADERS | _PADDED | http2.PRIORITY
_MOST_BLOCK_BYTES: Final = 256 << 10
# Length in two parts, kind, flags, stream.
_read_head: Final = struct.Struct(">BHBBI").unpack_from
_NO_LIMIT: Final = 1 << 62
# What a field weighs at most in a list beside what its block holds, and what the id does: while these stay
# below the limit, nothing need be summed up.
_FIELD_MOST: Final = FIELD_OVERHEAD + STATIC_FIELD_BYTES
_ID_MOST: Final = FIELD_OVERHEAD + len(HEADER) + MAX_CLIENT_ID
# What comes before an id of the length that most have.
_MADE_ID: Final = 36
_BEFORE_MADE_ID: Final = literal_without_indexing(HEADER, bytes(_MADE_ID))[:-_MADE_ID]
# Frames that are read whole; larger ones are none that a peer needs.
_MOST_READ_BYTES: Final = 16 << 10


class Listener(Protocol):
    """Who is told what a direction sends."""

    def fields(self, stream: int, fields: Fields, weight: int, ends: int, now: int) -> bytes | None:
        """A header block whose names and values hold up to `weight` bytes; the request id to append to it,
        None for none. `ends` (here and below) is not 0 where the stream ends with it in this direction.
        """

    def data(self, stream: int, piece: bytes, ends: int, now: int) -> None:
        """A piece of a body, without padding; empty only where it ends."""

    def reset(self, stream: int, code: int, now: int) -> None:
        """RST_STREAM."""

    def going_away(self, last_stream: int, now: int) -> None:
        """GOAWAY."""


class Direction:
    """One side's frames. `other` is the opposite direction, whose receiver this side is."""

    __slots__ = (
        "_announced",
        "_data_ends",
        "_data_left",
        "_data_stream",
        "_decoder",
        "_id_not_added",
        "_listener",
        "_skip",
        "_tell_data",
        "_tell_fields",
        "frame_most",
        "list_most",
        "other",
    )

    other: "Direction"

    def __init__(self, listener: Listener, skip: int, id_not_added: Callable[[], None]) -> None:
        """`skip` bytes come before the first frame."""
        # Bound once: each is called for every call of a model.
        self._tell_fields = listener.fields
        self._tell_data = listener.data
        self._listener = listener
        self._id_not_added = id_not_added
        # Bytes that pass unread: the preface, the rest of a frame, padding.
        self._skip = skip
        self._data_left = 0
        self._data_stream = 0
        self._data_ends = 0
        self._decoder = HpackDecoder()
        # This side's settings, sent and not acknowledged by the other side yet.
        self._announced: list[dict[int, int]] = []
        # What this side takes as a receiver: of each frame's payload, and of a header list.
        self.frame_most = http2.DEFAULT_FRAME_BYTES
        self.list_most = _NO_LIMIT

    def follow(self, data: bytes, now: int) -> tuple[bytes, int]:  # noqa: PLR0912, PLR0915  (flat: the hot path)
        """What is to be sent on of `data`, and how many of its bytes that is made of; the rest is held.

        Raises FrameError and HpackError, with nothing sent on.
        """
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
                    place = end
            elif kind == _HEADERS and flags & _ODD_BLOCK == _END_HEADERS:
                if end > size:
                    if end - place > _MOST_BLOCK_BYTES:
                        raise FrameError("header block is too large")
                    break
                fields = decoder.decode(data[place + _HEAD : end])
                wanted = self._tell_fields(stream, fields, decoder.list_bytes, flags & _END_STREAM, now)
                if wanted is not None and (added := self._literal(fields, wanted)):
                    length = end - place - _HEAD + len(added)
                    if length <= self.other.frame_most:
                        out += (data[copied:place], length.to_bytes(3, "big"), data[place + 3 : end], added)
                    else:
                        found = HeaderBlock(end, b"", place, end)
                        out += (
                            data[copied:place],
                            append_to_block(data, place, found, added, self.other.frame_most),
                        )
                    copied = end
                place = end
            elif kind in _BLOCKS:
                block = find_header_block(data, place)
                if block is None:
                    break
                fields = decoder.decode(block.fragment)
                # Of what is pushed only its effect on the table matters: it is not recorded.
                wanted = None
                if kind != _PUSH_PROMISE:
                    wanted = self._tell_fields(stream, fields, decoder.list_bytes, flags & _END_STREAM, now)
                if wanted is not None and (added := self._literal(fields, wanted)):
                    out += (
                        data[copied:place],
                        append_to_block(data, place, block, added, self.other.frame_most),
                    )
                    copied = block.end
                place = block.end
            else:
                place = self._control(data, place, end, now)
                if place < 0:
                    place = ~place
                    break
        if not copied:
            return (data if place == size else data[:place]), place
        out.append(data[copied:place])
        return b"".join(out), place

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
        if not length and self._data_ends:
            self._tell_data(self._data_stream, b"", self._data_ends, now)
        return place

    def _pass_data(self, data: bytes, place: int, now: int) -> int:
        piece = data[place : place + self._data_left]
        self._data_left -= len(piece)
        self._tell_data(self._data_stream, piece, 0 if self._data_left else self._data_ends, now)
        return place + len(piece)

    # -- header blocks

    def _literal(self, fields: Fields, wanted: bytes) -> bytes:
        """What is to be appended to the block of `fields`; empty where that would make a list too large."""
        most = self._decoder.list_bytes + len(fields) * _FIELD_MOST + _ID_MOST
        if most > self.other.list_most and self._exceeds_list(fields, wanted):
            self._id_not_added()
            return b""
        if len(wanted) == _MADE_ID:
            return _BEFORE_MADE_ID + wanted
        return literal_without_indexing(HEADER, wanted)

    def _exceeds_list(self, fields: Fields, wanted: bytes) -> bool:
        """Section 6.5.2: whether the receiver would find the list too large with the id in it."""
        size = sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in fields)
        return size + len(HEADER) + len(wanted) + FIELD_OVERHEAD > self.other.list_most

    # -- the rest

    def _control(self, data: bytes, frame: int, end: int, now: int) -> int:
        """Where the frame ends, or its unread payload begins; below zero, ~frame, while it is not whole."""
        kind = data[frame + 3]
        start = frame + _HEAD
        if kind == _CONTINUATION:
            raise FrameError("continuation of nothing")
        if kind not in (_SETTINGS, _RST_STREAM, _GOAWAY):
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
        if kind == _SETTINGS:
            if flags & http2.ACK:
                self.other.acknowledged(self._decoder)
            else:
                self._announce(read_settings_frame(payload))
        elif kind == _RST_STREAM:
            self._listener.reset(stream, int.from_bytes(payload[:4], "big"), now)
        else:
            self._listener.going_away(int.from_bytes(payload[:4], "big") & 0x7FFFFFFF, now)

    def _announce(self, settings: dict[int, int]) -> None:
        """Smaller limits are kept at once, larger ones once they are acknowledged."""
        if len(self._announced) >= 64:
            raise FrameError("settings that nobody acknowledges")
        self._announced.append(settings)
        self._lower(settings)

    def _lower(self, settings: dict[int, int]) -> None:
        self.frame_most = min(self.frame_most, settings.get(http2.MAX_FRAME_SIZE, self.frame_most))
        self.list_most = min(self.list_most, settings.get(http2.MAX_HEADER_LIST_SIZE, self.list_most))

    def acknowledged(self, decoder: HpackDecoder) -> None:
        """The other side has acknowledged this side's oldest settings; `decoder` decodes what it sends."""
        if not self._announced:
            return
        settings = self._announced.pop(0)
        self.frame_most = settings.get(http2.MAX_FRAME_SIZE, self.frame_most)
        self.list_most = settings.get(http2.MAX_HEADER_LIST_SIZE, self.list_most)
        for later in self._announced:
            self._lower(later)
        if http2.HEADER_TABLE_SIZE in settings:
            decoder.allow_table(settings[http2.HEADER_TABLE_SIZE])
