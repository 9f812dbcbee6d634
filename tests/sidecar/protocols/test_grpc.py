"""gRPC framing, status text and timeouts, by the words of PROTOCOL-HTTP2."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.protocols import Message, decode_status_message, split_messages, timeout_ns


def prefixed(data: bytes, flag: int = 0) -> bytes:
    return struct.pack(">BI", flag, len(data)) + data


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=40)), max_size=6))
def test_messages(said: list[tuple[bool, bytes]]) -> None:
    """Every message comes out as it went in, with its mark."""
    split = split_messages(b"".join(prefixed(data, flag) for flag, data in said), 10)
    assert split is not None
    assert split.messages == tuple(Message(flag, data) for flag, data in said)
    assert not split.is_cut


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4), st.data())
def test_cut_messages(said: list[bytes], data: st.DataObject) -> None:
    """Cut anywhere: the whole ones come out, and what follows them is told."""
    whole = b"".join(map(prefixed, said))
    at = data.draw(st.integers(0, len(whole)))
    split = split_messages(whole[:at], 10)
    assert split is not None
    found = [message.data for message in split.messages]
    assert found == said[: len(found)]
    assert split.is_cut == (b"".join(map(prefixed, found)) != whole[:at])


def test_no_more_than_asked_for() -> None:
    """More messages than wanted are a cut."""
    split = split_messages(prefixed(b"x") * 3, 2)
    assert split is not None
    assert (len(split.messages), split.is_cut) == (2, True)


def test_other_bytes_are_no_messages() -> None:
    """A flag that is neither 0 nor 1 begins no message."""
    assert split_messages(b"\x02\0\0\0\0", 10) is None
    assert split_messages(prefixed(b"x") + b'{"a": 1}', 10) is None


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", b""),
        (b"plain text", b"plain text"),
        (b"bad%20input%0A", b"bad input\n"),
        (b"%E4%BD%A0", "你".encode()),
        (b"100%", b"100%"),
        (b"%zz%4", b"%zz%4"),
        (b"%2541", b"%41"),
    ],
)
def test_status_messages(sent: bytes, said: bytes) -> None:
    """Escapes are undone once; broken ones stay as they are."""
    assert decode_status_message(sent) == said


@pytest.mark.parametrize(
    ("sent", "nanoseconds"),
    [
        (b"1H", 3_600_000_000_000),
        (b"2M", 120_000_000_000),
        (b"10S", 10_000_000_000),
        (b"250m", 250_000_000),
        (b"99999999u", 99_999_999_000),
        (b"7n", 7),
        (b"100000000n", None),
        (b"5", None),
        (b"S", None),
        (b"-1S", None),
        (b"1S ", None),
    ],
)
def test_timeouts(sent: bytes, nanoseconds: int | None) -> None:
    """At most eight digits and a unit; anything else is no timeout."""
    assert timeout_ns(sent) == nanoseconds
