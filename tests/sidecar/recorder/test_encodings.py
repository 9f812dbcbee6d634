"""Content encodings are opened, within a cap."""

import contextlib
import gzip
import os
import zlib
from collections.abc import Callable
from functools import partial

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sidecar.recorder.encodings import BombError, EncodingError, Opened, open_encoding

CAP = 1 << 20
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": partial(brotli.compress, quality=5),  # the best it can takes seconds
    "zstd": zstandard.ZstdCompressor().compress,
}


def raw_deflate(data: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(data) + engine.flush()


@pytest.mark.parametrize("coding", CODINGS)
@given(data=st.binary(max_size=5000))
def test_opened(coding: str, data: bytes) -> None:
    """What was coded comes out."""
    assert open_encoding(coding, CODINGS[coding](data), CAP) == Opened(data, False)


def test_raw_deflate() -> None:
    """Deflate without its zlib frame, as some servers send it."""
    assert open_encoding("deflate", raw_deflate(b"hello" * 99), CAP) == Opened(b"hello" * 99, False)


def test_several_codings() -> None:
    """The last coding is undone first; identity is none."""
    data = b"hello" * 99
    assert open_encoding("gzip, identity, BR", brotli.compress(gzip.compress(data)), CAP).data == data
    assert open_encoding("", data, CAP) == Opened(data, False)


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "zstd"])
@given(parts=st.lists(st.binary(max_size=700), min_size=1, max_size=9))
def test_members_one_behind_the_other(coding: str, parts: list[bytes]) -> None:
    """All members of gzip and all frames of zstd are opened."""
    data = b"".join(CODINGS[coding](part) for part in parts)
    assert open_encoding(coding, data, CAP) == Opened(b"".join(parts), False)


def test_frames_to_skip() -> None:
    """What a frame of zstd holds that is to be skipped is no part of the body."""
    frame = CODINGS["zstd"](b"hello")
    skipped = b"\x53\x2a\x4d\x18\x05\x00\x00\x00notes"
    assert open_encoding("zstd", frame + skipped + frame, CAP) == Opened(b"hellohello", False)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_what_follows_is_no_part_of_the_body(coding: str) -> None:
    """Bytes behind the last member are left out."""
    data = CODINGS[coding](b"hello" * 99) + b"\0" * 600
    assert open_encoding(coding, data, CAP).data == b"hello" * 99


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_members_share_the_cap(coding: str) -> None:
    """Many members become no more than one, and empty ones without end are given up."""
    noise = os.urandom(CAP // 2)
    assert open_encoding(coding, CODINGS[coding](noise) * 5, CAP) == Opened(noise * 2, True)
    assert open_encoding(coding, CODINGS[coding](b"") * 20_000, CAP) == Opened(b"", True)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_cut_in_a_later_member(coding: str) -> None:
    """What was cut in its second member is marked as cut."""
    member = CODINGS[coding](b"hello" * 99)
    opened = open_encoding(coding, member + member[:-6], CAP)
    assert opened.cut
    assert opened.data.startswith(b"hello" * 99)


@pytest.mark.parametrize("coding", CODINGS)
def test_cut_input(coding: str) -> None:
    """Of what was cut, the beginning comes out, marked as cut."""
    data = os.urandom(300_000)
    opened = open_encoding(coding, CODINGS[coding](data)[:200_000], CAP)
    assert opened.cut
    assert data.startswith(opened.data)
    assert len(opened.data) > 50_000


@pytest.mark.parametrize("coding", CODINGS)
def test_bomb(coding: str) -> None:
    """However much is in it, no more than the cap is decoded, and what grows that much is refused."""
    bomb = CODINGS[coding](bytes(64 << 20))
    with pytest.raises(BombError):
        open_encoding(coding, bomb, 1 << 20)


@pytest.mark.parametrize("coding", CODINGS)
def test_more_than_the_cap(coding: str) -> None:
    """What is long but grows as text does is cut at the cap."""
    text = b"".join(b"%x " % (n * n * n) for n in range(200_000))
    assert open_encoding(coding, CODINGS[coding](text), 1 << 20) == Opened(text[: 1 << 20], True)


@pytest.mark.parametrize("coding", ["compress", "gzip, gzip, gzip, gzip", "*", "gzip;q=1"])
def test_unknown(coding: str) -> None:
    """A coding nobody knows, or too many of them, is an error."""
    with pytest.raises(EncodingError):
        open_encoding(coding, b"data", CAP)


@pytest.mark.parametrize("coding", CODINGS)
@given(data=st.binary(min_size=1, max_size=300))
def test_garbage(coding: str, data: bytes) -> None:
    """Bytes that are none of the coding give its error, or what could be read; nothing else."""
    with contextlib.suppress(EncodingError):
        open_encoding(coding, data, CAP)
