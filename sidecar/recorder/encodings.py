"""Encodings: opens content encodings (RFC 9110, section 8.4) so that a body can be read.

Pure. What comes out is capped whatever goes in, so a bomb costs no more than the cap, and then is refused;
what was cut off on the way in gives what could be decoded so far.
"""

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import brotli
import zstandard

# Codings one on top of the other; nobody needs more.
_MAX_CODINGS: Final = 3
# How much goes into a decoder at a time. zstd can't be told how much may come out: a block of 4 bytes may
# become 128 KiB, so a step becomes 8 MiB at most.
_STEP_BYTES: Final = 256
_ZSTD_WINDOW_BYTES: Final = 8 << 20  # RFC 8878, section 3.1.1.1.2: what decoders are advised to support
# A body may be several members (RFC 1952, section 2.2) or frames (RFC 8878, section 3.1) in a row: how each
# begins, and how many are opened.
_ANOTHER: Final = {
    "gzip": re.compile(rb"\x1f\x8b\x08"),
    "x-gzip": re.compile(rb"\x1f\x8b\x08"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", re.DOTALL),
}
_MOST_MEMBERS: Final = 4096
# What goes beyond the cap and grows by more than this is a bomb: text becomes three to twenty times as long,
# zeros in one layer of gzip a thousand times.
_BOMB_RATIO: Final = 100


@dataclass(frozen=True, slots=True)
class Opened:
    """What was decoded. `cut` where the cap or the input's end came before the body's."""

    data: bytes
    cut: bool


class EncodingError(ValueError):
    """The coding is unknown, or the bytes are none of it."""


class BombError(EncodingError):
    """The bytes become so much that they can only be meant to."""


class _Decoder(Protocol):
    def __call__(self, data: bytes, room: int, /) -> bytes:
        """What `data` decodes to; a little more than `room` at most."""

    @property
    def finished(self) -> bool:
        """Whether the coded body is complete."""

    @property
    def rest(self) -> bytes:
        """What came in behind the end of the coded body; empty where that can't be told."""


class _Zlib:
    """gzip (RFC 1952) and deflate, which is zlib (RFC 1950), or raw as some servers send it (RFC 1951)."""

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._engine = zlib.decompressobj(wbits)
        self._begun = False

    def __call__(self, data: bytes, room: int) -> bytes:
        try:
            return self._engine.decompress(data, room)
        except zlib.error:
            if self._begun or self._wbits != zlib.MAX_WBITS:
                raise
            self._engine = zlib.decompressobj(-zlib.MAX_WBITS)
            return self._engine.decompress(data, room)
        finally:
            self._begun = True

    @property
    def finished(self) -> bool:
        return self._engine.eof

    @property
    def rest(self) -> bytes:
        return self._engine.unused_data


class _Brotli:
    """RFC 7932."""

    def __init__(self) -> None:
        self._engine = brotli.Decompressor()

    def __call__(self, data: bytes, room: int) -> bytes:
        return bytes(self._engine.process(data, output_buffer_limit=room))

    @property
    def finished(self) -> bool:
        return bool(self._engine.is_finished())

    @property
    def rest(self) -> bytes:
        return b""


class _Zstandard:
    """RFC 8878."""

    def __init__(self) -> None:
        self._engine = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES).decompressobj()

    def __call__(self, data: bytes, room: int) -> bytes:  # noqa: ARG002  (one step's output is bounded)
        return self._engine.decompress(data)

    @property
    def finished(self) -> bool:
        return self._engine.eof

    @property
    def rest(self) -> bytes:
        return self._engine.unused_data


_DECODERS: Final[dict[str, Callable[[], _Decoder]]] = {
    "gzip": lambda: _Zlib(16 + zlib.MAX_WBITS),
    "x-gzip": lambda: _Zlib(16 + zlib.MAX_WBITS),
    "deflate": lambda: _Zlib(zlib.MAX_WBITS),
    "br": _Brotli,
    "zstd": _Zstandard,
}


def open_encoding(content_encoding: str, data: bytes, cap: int) -> Opened:
    """Undo what `content_encoding` names, last coding first; at most `cap` bytes come out.

    Raises EncodingError.
    """
    named = [each.strip() for each in content_encoding.lower().split(",")]
    codings = [name for name in named if name not in ("", "identity")]
    if len(codings) > _MAX_CODINGS:
        raise EncodingError("too many codings")
    cut = False
    for coding in reversed(codings):
        if data:
            opened = _open(coding, data, cap)
            data, cut = opened.data, cut or opened.cut
    return Opened(data, cut)


def _open(coding: str, data: bytes, cap: int) -> Opened:
    if coding not in _DECODERS:
        raise EncodingError("unknown coding")
    out: list[bytes] = []
    size = place = 0
    try:
        for _ in range(_MOST_MEMBERS):
            decoder = _DECODERS[coding]()
            while place < len(data) and not decoder.finished:
                piece = decoder(data[place : place + _STEP_BYTES], cap + 1 - size)
                place += _STEP_BYTES
                out.append(piece)
                size += len(piece)
                if size > cap:
                    if size > _BOMB_RATIO * place:
                        raise BombError("a bomb")
                    return Opened(b"".join(out)[:cap], True)
            place = min(place, len(data)) - len(decoder.rest)
            if not decoder.finished or not _is_followed(coding, data, place):
                return Opened(b"".join(out), not decoder.finished)
    except (zlib.error, brotli.error, zstandard.ZstdError, MemoryError) as error:
        raise EncodingError(f"not {coding}") from error
    return Opened(b"".join(out), True)


def _is_followed(coding: str, data: bytes, place: int) -> bool:
    """Whether another member begins at `place`; anything else there is no part of the body."""
    begins = _ANOTHER.get(coding)
    return begins is not None and begins.match(data, place) is not None
