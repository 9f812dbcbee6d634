"""HTTP/2 direction: what one side of a connection sends, frame by frame.

Pure. It walks over the frames of each read: DATA and what it need not know pass at once, also in pieces;
header blocks, and the few frames that it reads, are held until they are complete. What a frame means is the
tap's business, which it tells.
"""

from collections.abc import Callable
from typing import Final, Protocol

from sidecar.protocols import (
    FIELD_OVERHEAD,
    FrameError,
    HpackDecoder,
    append_to_block,
    find_header_block,
    http2,
    literal_without_indexing,
    read_settings_frame,
)
from sidecar.tap.request_id import HEADER

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
# Frames that are read whole; larger ones are none that a peer needs.
_MOST_READ_BYTES: Final = 16 << 10


class Listener(Protocol):
    """Who is told what a direction sends."""

    def fields(self, stream: int, fields: Fields, ends: bool, now: int) -> bytes | None:
        """A header block; the request id to append to it, None for none."""

    def data(self, stream: int, piece: bytes, now: int) -> None:
        """A non-empty piece of a body, without padding."""

    def end(self, stream: int, now: int) -> None:
        """The stream has ended in this direction; told after its last data, not after fields that say so."""

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
        "frame_most",
        "list_most",
        "other",
    )

    other: "Direction"

    def __init__(self, listener: Listener, skip: int, id_not_added: Callable[[], None]) -> None:
        """`skip` bytes come before the first frame."""
        self._listener = listener
        self._id_not_added = id_not_added
        # Bytes that pass unread: the preface, the rest of a frame, padding.
        self._skip = skip
        self._data_left = 0
        self._data_stream = 0
        self._data_ends = False
        self._decoder = HpackDecoder()
        # This side's settings, sent and not acknowledged by the other side yet.
        self._announced: list[dict[int, int]] = []
        # What this side takes as a receiver: of each frame's payload, and of a header list.
        self.frame_most = http2.DEFAULT_FRAME_BYTES
        self.list_most = 1 << 62

    def follow(self, data: bytes, now: int) -> tuple[bytes, int]:
        """What is to be sent on of `data`, and how many of its bytes that is made of; the rest is held.

        Raises FrameError and HpackError, with nothing sent on.
        """
        out: list[bytes] = []
        place = copied = 0
        size = len(data)
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
            kind = data[place + 3]
            if kind == _DATA:
                after = self._begin_data(data, place, now)
                if after < 0:
                    break
                place = after
            elif kind in _BLOCKS:
                block = find_header_block(data, place)
                if block is None:
                    break
                added = self._read_block(data, place, block.fragment, kind, now)
                if added is not None:
                    out += (
                        data[copied:place],
                        append_to_block(data, place, block, added, self.other.frame_most),
                    )
                    copied = block.end
                place = block.end
            else:
                after = self._control(data, place, kind, now)
                if after < 0:
                    break
                place = after
        if not copied:
            return (data if place == size else data[:place]), place
        out.append(data[copied:place])
        return b"".join(out), place

    # -- DATA (section 6.1)

    def _begin_data(self, data: bytes, frame: int, now: int) -> int:
        """Where its payload begins; -1 while the pad length has not come."""
        length = (data[frame] << 16) | (data[frame + 1] << 8) | data[frame + 2]
        flags = data[frame + 4]
        place = frame + _HEAD
        padding = 0
        if flags & http2.PADDED:
            if place == len(data):
                return -1
            padding = data[place]
            place += 1
            length -= 1 + padding
            if length < 0:
                raise FrameError("more padding than frame")
        self._data_stream = int.from_bytes(data[frame + 5 : frame + _HEAD], "big") & 0x7FFFFFFF
        self._data_left = length
        self._data_ends = bool(flags & http2.END_STREAM)
        self._skip = padding
        if not length and self._data_ends:
            self._listener.end(self._data_stream, now)
        return place

    def _pass_data(self, data: bytes, place: int, now: int) -> int:
        end = place + self._data_left
        piece = data[place:end]
        self._data_left -= len(piece)
        self._listener.data(self._data_stream, piece, now)
        if not self._data_left and self._data_ends:
            self._listener.end(self._data_stream, now)
        return place + len(piece)

    # -- header blocks

    def _read_block(self, data: bytes, frame: int, fragment: bytes, kind: int, now: int) -> bytes | None:
        """Tell of it; the literal to append, None for none."""
        fields = self._decoder.decode(fragment)
        if kind == _PUSH_PROMISE:
            return None  # only its effect on the table matters: what is pushed is not recorded
        stream = int.from_bytes(data[frame + 5 : frame + 9], "big") & 0x7FFFFFFF
        ends = bool(data[frame + 4] & http2.END_STREAM)
        wanted = self._listener.fields(stream, fields, ends, now)
        if wanted is None:
            return None
        if self.other.list_most < 1 << 62 and self._exceeds_list(fields, wanted):
            self._id_not_added()
            return None
        return literal_without_indexing(HEADER, wanted)

    def _exceeds_list(self, fields: Fields, wanted: bytes) -> bool:
        """Section 6.5.2: whether the receiver would find the list too large with the id in it."""
        size = sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in fields)
        return size + len(HEADER) + len(wanted) + FIELD_OVERHEAD > self.other.list_most

    # -- the rest

    def _control(self, data: bytes, frame: int, kind: int, now: int) -> int:
        """Where the frame ends, or where its unread payload begins; -1 while it has not come whole."""
        length = (data[frame] << 16) | (data[frame + 1] << 8) | data[frame + 2]
        start = frame + _HEAD
        if kind == _CONTINUATION:
            raise FrameError("continuation of nothing")
        if kind not in (_SETTINGS, _RST_STREAM, _GOAWAY):
            self._skip = length
            return start
        if length > _MOST_READ_BYTES:
            raise FrameError("frame is too large")
        end = start + length
        if end > len(data):
            return -1
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
        self.frame_most = min(self.frame_most, settings.get(http2.MAX_FRAME_SIZE, self.frame_most))
        self.list_most = min(self.list_most, settings.get(http2.MAX_HEADER_LIST_SIZE, self.list_most))

    def acknowledged(self, decoder: HpackDecoder) -> None:
        """The other side has acknowledged this side's oldest settings; `decoder` decodes what it sends."""
        if not self._announced:
            return
        settings = self._announced.pop(0)
        self.frame_most = settings.get(http2.MAX_FRAME_SIZE, self.frame_most)
        self.list_most = settings.get(http2.MAX_HEADER_LIST_SIZE, self.list_most)
        if http2.HEADER_TABLE_SIZE in settings:
            decoder.allow_table(settings[http2.HEADER_TABLE_SIZE])
