"""Header blocks in HTTP/2 frames: found whole, appended to within limits, and settings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.protocols import FrameError, append_to_block, find_header_block, http2, read_settings_frame

STREAM = (5).to_bytes(4, "big")


def frame(kind: int, flags: int, payload: bytes, stream: bytes = STREAM) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream + payload


def sequence(
    fragments: list[bytes], padding: int | None, has_priority: bool, kind: int = http2.HEADERS
) -> bytes:
    """A header block in frames, the first padded or with a priority."""
    first = fragments[0]
    flags = 0
    if kind == http2.PUSH_PROMISE:
        first = b"\0\0\0\x02" + first
    elif has_priority:
        flags |= http2.HAS_PRIORITY
        first = b"\0\0\0\x03\x10" + first
    if padding is not None:
        flags |= http2.PADDED
        first = bytes((padding,)) + first + bytes(padding)
    last = len(fragments) - 1
    return b"".join(
        frame(
            http2.CONTINUATION if at else kind,
            (0 if at else flags) | (http2.END_HEADERS if at == last else 0),
            fragments[at] if at else first,
        )
        for at in range(len(fragments))
    )


blocks = st.tuples(
    st.lists(st.binary(max_size=20), min_size=1, max_size=4),
    st.none() | st.integers(0, 30),
    st.booleans(),
    st.sampled_from([http2.HEADERS, http2.PUSH_PROMISE]),
)


@given(blocks, st.binary(max_size=12), st.binary(max_size=12))
def test_blocks_are_found(
    block: tuple[list[bytes], int | None, bool, int], before: bytes, after: bytes
) -> None:
    """The fragments come out joined, without padding, priority and promised stream, wherever they stand."""
    fragments, padding, has_priority, kind = block
    data = sequence(fragments, padding, has_priority, kind)
    found = find_header_block(before + data + after, len(before))
    assert found is not None
    assert found.fragment == b"".join(fragments)
    assert found.end == len(before) + len(data)
    for cut in range(len(data)):
        assert find_header_block(before + data[:cut], len(before)) is None


@given(blocks, st.binary(min_size=1, max_size=20), st.integers(0, 60))
def test_appending(block: tuple[list[bytes], int | None, bool, int], extra: bytes, room: int) -> None:
    """Read back, the block is the old one and what was appended; no frame grows beyond the limit."""
    fragments, padding, has_priority, kind = block
    data = sequence(fragments, padding, has_priority, kind)
    found = find_header_block(data, 0)
    assert found is not None
    longest = max(int.from_bytes(each[:3], "big") for each in cut_frames(data))
    most = max(longest, len(extra)) + room
    out = append_to_block(data, 0, found, extra, most)
    again = find_header_block(out, 0)
    assert again is not None
    assert (again.fragment, again.end) == (found.fragment + extra, len(out))
    assert all(int.from_bytes(each[:3], "big") <= most for each in cut_frames(out))


def cut_frames(data: bytes) -> list[bytes]:
    found = []
    while data:
        size = 9 + int.from_bytes(data[:3], "big")
        found.append(data[:size])
        data = data[size:]
    return found


@pytest.mark.parametrize(
    "data",
    [
        frame(http2.HEADERS, 0, b"") + frame(http2.CONTINUATION, 4, b"", b"\0\0\0\x07"),
        frame(http2.HEADERS, 0, b"") + frame(http2.DATA, 0, b""),
        frame(http2.HEADERS, http2.PADDED | 4, b""),
        frame(http2.HEADERS, http2.PADDED | 4, b"\x05abc"),
        frame(http2.HEADERS, http2.HAS_PRIORITY | 4, b"abc"),
        frame(http2.PUSH_PROMISE, 4, b"abc"),
        frame(http2.HEADERS, 0, b"") + frame(http2.CONTINUATION, 0, b"") * 200,
        b"\xff\xff\xff\x01\x04" + STREAM,
        (frame(http2.HEADERS, 0, b"x" * 16_384) + frame(http2.CONTINUATION, 0, b"x" * 16_384) * 20),
    ],
    ids=[
        "another stream",
        "another kind",
        "no pad length",
        "padding",
        "priority",
        "promise",
        "count",
        "frame",
        "bytes",
    ],
)
def test_broken_blocks(data: bytes) -> None:
    """Sequences that the standard forbids, and those without measure, are errors."""
    with pytest.raises(FrameError):
        find_header_block(data, 0)


def test_settings() -> None:
    """Each setting has the value that it was last given; a length of another kind is an error."""
    assert read_settings_frame(b"") == {}
    assert read_settings_frame(b"\0\1\0\0\0\5\0\6\0\0\1\0\0\1\0\0\0\7") == {1: 7, 6: 256}
    with pytest.raises(FrameError):
        read_settings_frame(b"\0\1\0")
