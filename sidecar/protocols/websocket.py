"""WebSocket: the frames of one direction put together into messages (RFC 6455), with per-message compression
(RFC 7692).

Pure: bytes in, in pieces of any size; messages out. It promises that bytes which are no such framing end the
reading and nothing else (`fault`), that no message is larger than the limit it is given, and that no
compression makes more than the room it is given.

    FIN RSV1-3 opcode(4) | MASK length(7) | length(16), where that is 126, or (64), where 127
        | key(32), where MASK | payload
"""

import re
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class MessageKind(IntEnum):
    """The opcodes of section 5.2."""

    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


@dataclass(frozen=True, slots=True)
class WebSocketMessage:
    """One message, or one control frame; its compression undone."""

    kind: MessageKind
    data: bytes
    # Bytes fed so far by which it was complete.
    end: int
    # Larger than the limit: what follows is left out.
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Deflate:
    """The `permessage-deflate` agreed on: whether a side begins each message with an empty window."""

    server_forgets: bool
    client_forgets: bool


_CONTINUATION: Final = 0
_FIN: Final = 0x80
_RSV1: Final = 0x40
_RSV2_3: Final = 0x30
_OPCODE: Final = 0x0F
_MASK: Final = 0x80
_LENGTH: Final = 0x7F
_CONTROL: Final = 0x08
_MOST_CONTROL: Final = 125
# Section 7.2.2 of RFC 7692: what the sender leaves off each message.
_FLUSH_END: Final = b"\x00\x00\xff\xff"
# How much is inflated at a time.
_STEP_BYTES: Final = 1 << 16
_DEFLATE: Final = re.compile(rb"permessage-deflate\s*(?:;|$)")


def read_deflate(extensions: bytes) -> Deflate | None:
    """What `Sec-WebSocket-Extensions` of the 101 says of compression; None for none.

    The window's size is no matter: an inflater with the largest reads all.
    """
    for extension in extensions.lower().split(b","):
        if _DEFLATE.match(extension.strip()):
            named = {each.partition(b"=")[0].strip() for each in extension.split(b";")[1:]}
            return Deflate(b"server_no_context_takeover" in named, b"client_no_context_takeover" in named)
    return None


class WebSocketReader:
    """Reads one direction. What it keeps is as large as a message of `most` bytes, and an inflater."""

    def __init__(self, most: int, room: int, deflates: bool = False, forgets: bool = False) -> None:
        """Messages keep `most` bytes; inflating makes `room` bytes in all. `deflates` where compression is
        agreed on, and `forgets` where each of this side's messages begins with an empty window.
        """
        self._most = most
        self._room = room
        self._deflates = deflates
        self._forgets = forgets
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        # Of a frame whose head has not come whole.
        self._head = b""
        # Bytes fed so far.
        self.fed = 0
        # The frame under way: bytes of its payload to come, its first byte, and its key from where it stands.
        self._left = 0
        self._first = 0
        self._key = b""
        # The control frame, and the message, under way.
        self._control = bytearray()
        self._message = bytearray()
        self._kind: MessageKind | None = None
        self._is_deflated = False
        self._is_cut = False
        # Why nothing more is read; empty while all is well.
        self.fault = ""

    @property
    def is_cut(self) -> bool:
        """Whether what was fed ends within a message or a frame."""
        return bool(self._head or self._left or self._kind is not None)

    @property
    def weight(self) -> int:
        """Bytes of the message under way that it holds."""
        return len(self._head) + len(self._control) + len(self._message)

    def feed(self, data: bytes) -> list[WebSocketMessage]:
        """The messages that `data` completes."""
        messages: list[WebSocketMessage] = []
        self.fed += len(data)
        if self.fault:
            return messages
        data = self._head + data
        self._head = b""
        place = 0
        try:
            while place < len(data):
                if not self._left:
                    begun = self._begin(data, place)
                    if begun < 0:
                        self._head = data[place:]
                        break
                    place = begun
                step = min(self._left, len(data) - place)
                self._take(data[place : place + step])
                place += step
                if not self._left and (message := self._end(self.fed - len(data) + place)) is not None:
                    messages.append(message)
        except (_Unreadable, zlib.error) as why:
            self._give_up(str(why) if isinstance(why, _Unreadable) else "not deflated")
        return messages

    # -- frames (section 5.2)

    def _begin(self, data: bytes, place: int) -> int:
        """Where the payload of the frame at `place` begins; -1 while its head is not whole."""
        if len(data) - place < 2:
            return -1
        first, second = data[place], data[place + 1]
        length = second & _LENGTH
        more = {126: 2, 127: 8}.get(length, 0)
        key_at = place + 2 + more
        end = key_at + (4 if second & _MASK else 0)
        if len(data) < end:
            return -1
        if more:
            length = int.from_bytes(data[place + 2 : key_at], "big")
        self._check(first, length)
        self._first, self._left, self._key = first, length, data[key_at:end]
        return end

    def _check(self, first: int, length: int) -> None:
        opcode = first & _OPCODE
        if first & _RSV2_3 or (first & _RSV1 and not self._deflates):
            raise _Unreadable("an extension nobody agreed on")
        if length >> 63:
            raise _Unreadable("a length that is none")
        if opcode & _CONTROL:
            if opcode > MessageKind.PONG or not first & _FIN or first & _RSV1 or length > _MOST_CONTROL:
                raise _Unreadable("a control frame that is none")
            return
        if opcode > MessageKind.BINARY:
            raise _Unreadable("an opcode that is none")
        if (opcode == _CONTINUATION) == (self._kind is None) or (opcode == _CONTINUATION and first & _RSV1):
            raise _Unreadable("fragments out of order")
        if opcode != _CONTINUATION:
            self._kind = MessageKind(opcode)
            self._is_deflated = bool(first & _RSV1)

    def _take(self, piece: bytes) -> None:
        self._left -= len(piece)
        if self._key:
            piece = _unmasked(piece, self._key)
            turn = len(piece) % 4
            self._key = self._key[turn:] + self._key[:turn]
        if self._first & _OPCODE & _CONTROL:
            self._control += piece
        elif self._is_deflated:
            self._inflate(piece)
        else:
            self._keep(piece)

    def _keep(self, piece: bytes) -> None:
        kept = piece[: self._most - len(self._message)]
        self._is_cut = self._is_cut or len(kept) < len(piece)
        self._message += kept

    def _end(self, end: int) -> WebSocketMessage | None:
        """The frame is complete: the message that is, too."""
        opcode = self._first & _OPCODE
        if opcode & _CONTROL:
            control = WebSocketMessage(MessageKind(opcode), bytes(self._control), end)
            self._control.clear()
            return control
        if not self._first & _FIN:
            return None
        assert self._kind is not None
        if self._is_deflated:
            self._end_inflating()
        message = WebSocketMessage(self._kind, bytes(self._message), end, self._is_cut)
        self._message.clear()
        self._kind = None
        self._is_deflated = self._is_cut = False
        return message

    # -- compression (RFC 7692, section 7.2.2)

    def _inflate(self, piece: bytes) -> None:
        """All of it goes through the inflater, be the message cut or not: later ones refer to it."""
        made = b""
        while piece or len(made) == _STEP_BYTES:
            made = self._inflater.decompress(piece, _STEP_BYTES)
            self._room -= len(made)
            if self._room < 0:
                raise _Unreadable("more than may be inflated")
            self._keep(made)
            piece = self._inflater.unconsumed_tail
            if self._inflater.eof:  # section 7.2.3.5: a last block ends no message
                piece = self._inflater.unused_data
                self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    def _end_inflating(self) -> None:
        self._inflate(_FLUSH_END)
        if self._forgets:
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    def _give_up(self, why: str) -> None:
        self.fault = why
        self._head = self._key = b""
        self._message.clear()
        self._control.clear()
        self._kind = None
        self._left = 0


class _Unreadable(Exception):  # noqa: N818  (an outcome)
    """What comes is no such framing. The text holds no payload."""


def _unmasked(data: bytes, key: bytes) -> bytes:
    """Section 5.3: each byte XORed with the key's, in turn."""
    size = len(data)
    repeated = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


def read_close(data: bytes) -> tuple[int, bytes]:
    """Code and reason of a close frame (section 5.5.1); 1005 where it holds none."""
    return (int.from_bytes(data[:2], "big"), data[2:]) if len(data) >= 2 else (1005, b"")
