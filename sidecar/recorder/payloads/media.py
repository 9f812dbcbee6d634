"""Media: what the first bytes of a body say of an image or of sound. Numbers and names of formats only.

Pure. Of the body nothing else is told, so this may be asked of raw bytes. What a header does not say is 0.
"""

import functools
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

# What is looked at: JPEG has its size behind its other segments.
_LOOKED_AT: Final = 64 << 10
# Types of bodies that are no text.
_TYPES: Final = re.compile(
    r"(?:image|audio|video|font|model)/.*|application/(?:octet-stream|pdf|zip|ogg|x-npy|x-npz)|binary/octet-stream"
)
_MOST: Final = (1 << 32) - 1
# Longer than any of these types' names.
_MOST_NAME: Final = 128


@dataclass(frozen=True, slots=True)
class Media:
    """What a header says; 0 where it does not."""

    format: str
    # Pixels.
    width: int = 0
    height: int = 0
    channels: int = 0
    # Samples a second.
    sample_rate: int = 0
    duration_ms: int = 0


def describe(content_type: str, pieces: Iterable[bytes]) -> Media | None:
    """What the body of that type is that `pieces` begin; None for text, and for what is not known."""
    if not _is_media(content_type[:_MOST_NAME]):
        return None
    head = b""
    for piece in pieces:
        head += piece[:_LOOKED_AT]
        if len(head) >= _LOOKED_AT:
            break
    for begins, read in _FORMATS:
        if head.startswith(begins):
            try:
                return read(head)
            except (struct.error, IndexError):  # its header is cut, or none
                return None
    return Media("mp4") if head[4:8] == b"ftyp" else None


@functools.lru_cache(maxsize=256)
def _is_media(content_type: str) -> bool:
    return _TYPES.fullmatch(content_type.partition(";")[0].strip().lower()) is not None


def _named(name: str) -> Callable[[bytes], Media]:
    return lambda _: Media(name)


def _png(head: bytes) -> Media:
    """PNG (W3C), section 11.2.2: IHDR comes first."""
    width, height, _, colour = struct.unpack_from(">IIBB", head, 16)
    return Media("png", width, height, {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(colour, 0))


def _gif(head: bytes) -> Media:
    """GIF89a, section 18: the logical screen."""
    width, height = struct.unpack_from("<HH", head, 6)
    return Media("gif", width, height)


def _bmp(head: bytes) -> Media | None:
    """The BITMAPINFOHEADER; a negative height means rows from the top."""
    if head[6:10] != bytes(4):  # two letters begin much else
        return None
    width, height = struct.unpack_from("<ii", head, 18)
    return Media("bmp", abs(width), abs(height))


def _jpeg(head: bytes) -> Media:
    """ITU T.81, B.2.2: the frame header is a segment, behind others of known length."""
    place = 2
    while place < len(head):
        marker, kind, size = struct.unpack_from(">BBH", head, place)
        if marker != 0xFF:
            return Media("jpeg")
        if kind == 0xFF:  # a byte of filling
            place += 1
            continue
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width, channels = struct.unpack_from(">HHB", head, place + 5)
            return Media("jpeg", width, height, channels)
        place += 2 + max(size, 2)
    return Media("jpeg")


def _riff(head: bytes) -> Media | None:
    kind = head[8:12]
    return _wav(head) if kind == b"WAVE" else _webp(head) if kind == b"WEBP" else None


def _webp(head: bytes) -> Media:
    """RFC 9649: the lossy, the lossless and the extended form."""
    kind = head[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return Media("webp", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return Media("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X" and len(head) >= 30:
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
        return Media("webp", width, height)
    return Media("webp")


def _wav(head: bytes) -> Media:
    """RIFF: `fmt ` says what a second takes, `data` how much there is."""
    channels = rate = bytes_a_second = size = 0
    place = 12
    while place + 8 <= len(head):
        kind, length = struct.unpack_from("<4sI", head, place)
        if kind == b"fmt ":
            _, channels, rate, bytes_a_second = struct.unpack_from("<HHII", head, place + 8)
        elif kind == b"data":
            size = 0 if length == _MOST else length  # of a stream, whose length nobody knew
            break
        place += 8 + length + (length & 1)
    duration = size * 1000 // bytes_a_second if bytes_a_second else 0
    return Media("wav", channels=channels, sample_rate=rate, duration_ms=duration)


def _flac(head: bytes) -> Media:
    """RFC 9639, section 8.2: rate in 20 bits, channels in 3, depth in 5, samples in 36."""
    (bits,) = struct.unpack_from(">Q", head, 18)
    rate, samples = bits >> 44, bits & (1 << 36) - 1
    duration = samples * 1000 // rate if rate else 0
    return Media("flac", channels=(bits >> 41 & 7) + 1, sample_rate=rate, duration_ms=duration)


def _ogg(head: bytes) -> Media:
    """The identification header of Vorbis, or of Opus (RFC 7845, section 5.1), in the first page."""
    vorbis, opus = head.find(b"\x01vorbis", 0, 256), head.find(b"OpusHead", 0, 256)
    if vorbis >= 0:
        channels, rate = struct.unpack_from("<BI", head, vorbis + 11)
        return Media("ogg", channels=channels, sample_rate=rate)
    if opus >= 0:
        return Media("ogg", channels=head[opus + 9], sample_rate=48_000)
    return Media("ogg")


_FORMATS: Final[tuple[tuple[bytes, Callable[[bytes], Media | None]], ...]] = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"\xff\xd8\xff", _jpeg),
    (b"GIF87a", _gif),
    (b"GIF89a", _gif),
    (b"RIFF", _riff),
    (b"BM", _bmp),
    (b"fLaC", _flac),
    (b"OggS", _ogg),
    (b"ID3", _named("mp3")),
    (b"\xff\xfb", _named("mp3")),
    (b"\xff\xf3", _named("mp3")),
    (b"\x1aE\xdf\xa3", _named("webm")),
    (b"II*\0", _named("tiff")),
    (b"MM\0*", _named("tiff")),
    (b"%PDF-", _named("pdf")),
    (b"PK\x03\x04", _named("zip")),
    (b"\x93NUMPY", _named("npy")),
)
