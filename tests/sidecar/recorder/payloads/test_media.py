"""What headers of images and sound say."""

import struct
import wave
import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.recorder.payloads import Media, describe

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBB", 13, b"IHDR", 640, 480, 8, 6) + bytes(3)
PNG += struct.pack(">I", zlib.crc32(PNG[12:29]))
JPEG = (
    b"\xff\xd8\xff\xe0"
    + struct.pack(">H", 16)
    + b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
    + b"\xff\xdb\x00\x04\0\0\xff\xff\xc2"
    + struct.pack(">HBHHB", 17, 8, 480, 640, 3)
)
FLAC = (
    b"fLaC\0\0\0\x22" + bytes(10) + struct.pack(">Q", 44_100 << 44 | 1 << 41 | 15 << 36 | 88_200) + bytes(16)
)
VORBIS = b"OggS" + bytes(24) + b"\x01vorbis" + struct.pack("<IBI", 0, 2, 44_100)
OPUS = b"OggS" + bytes(24) + b"OpusHead\x01\x02"
WEBP = b"RIFF" + struct.pack("<I", 30) + b"WEBP"


def wav() -> bytes:
    out = BytesIO()
    with wave.open(out, "wb") as writer:
        writer.setnchannels(2)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(bytes(8000 * 2 * 2))
    return out.getvalue()


@pytest.mark.parametrize(
    ("media_type", "head", "expected"),
    [
        ("image/png", PNG, Media("png", 640, 480, 4)),
        ("image/jpeg", JPEG, Media("jpeg", 640, 480, 3)),
        ("image/gif", b"GIF89a" + struct.pack("<HH", 3, 5) + bytes(3), Media("gif", 3, 5)),
        ("image/bmp", b"BM" + bytes(16) + struct.pack("<ii", 7, -9), Media("bmp", 7, 9)),
        (
            "image/webp",
            WEBP + b"VP8 " + bytes(10) + struct.pack("<HH", 550, 368),
            Media("webp", 550, 368),
        ),
        (
            "image/webp",
            WEBP + b"VP8L" + bytes(4) + b"\x2f" + struct.pack("<I", 99 | 49 << 14),
            Media("webp", 100, 50),
        ),
        (
            "image/webp",
            WEBP + b"VP8X" + bytes(8) + (399).to_bytes(3, "little") + (299).to_bytes(3, "little"),
            Media("webp", 400, 300),
        ),
        ("audio/wav", wav(), Media("wav", channels=2, sample_rate=8000, duration_ms=1000)),
        ("audio/flac", FLAC, Media("flac", channels=2, sample_rate=44_100, duration_ms=2000)),
        ("audio/ogg", VORBIS, Media("ogg", channels=2, sample_rate=44_100)),
        ("audio/ogg; codecs=opus", OPUS, Media("ogg", channels=2, sample_rate=48_000)),
        ("audio/mpeg", b"ID3\x03", Media("mp3")),
        ("video/mp4", b"\0\0\0\x18ftypisom", Media("mp4")),
        ("application/octet-stream", PNG, Media("png", 640, 480, 4)),
        ("application/pdf", b"%PDF-1.7", Media("pdf")),
        ("image/png", PNG[:18], None),
        ("image/png", b"", None),
        ("application/json", PNG, None),
        ("application/octet-stream", b"BMW", None),
    ],
)
def test_formats(media_type: str, head: bytes, expected: Media | None) -> None:
    """Format, size and sound, as far as the header says them; a body may come in any pieces."""
    assert describe(media_type, [head]) == expected
    assert describe(media_type, [head[:5], head[5:]]) == expected


@given(
    st.sampled_from(
        [b"", PNG[:8], JPEG[:3], b"RIFF1234WAVE", b"RIFF1234WEBPVP8 ", b"fLaC", b"OggS", b"BM", b"GIF89a"]
    ),
    st.binary(max_size=80),
)
def test_any_bytes(begins: bytes, rest: bytes) -> None:
    """Whatever follows, what comes out fits a record, or is nothing."""
    media = describe("image/x", [begins + rest])
    if media is not None:
        assert 0 <= media.width < 1 << 32
        assert 0 <= media.height < 1 << 32
        assert 0 <= media.sample_rate < 1 << 32
        assert 0 <= media.duration_ms < 1 << 64
