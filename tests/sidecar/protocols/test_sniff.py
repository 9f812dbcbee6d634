"""Sniffing: decided as early as certain, and never wrong about HTTP."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.protocols import HTTP2_PREFACE, Sniffed, sniff_client, sniff_model


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GET / HTTP/1.1\r\n", Sniffed.HTTP1),
        (b"\r\n\r\nREPORT /a HTTP/1.0\r\nHost", Sniffed.HTTP1),
        (b"PRINT / HTTP/1.1\r\n", Sniffed.HTTP1),
        (HTTP2_PREFACE + b"\0", Sniffed.HTTP2),
        (b"EHLO host\r\n", Sniffed.UNKNOWN),
        (b"*1\r\n$4\r\nPING\r\n", Sniffed.UNKNOWN),
        (b"\x16\x03\x01\x02\x00", Sniffed.UNKNOWN),
        (b"PING\r\n", Sniffed.UNKNOWN),
        (b"get foo\r\n", Sniffed.UNKNOWN),
        (b" GET", Sniffed.UNDECIDED),
        (b"GET / HTTP/1.1\rX", Sniffed.UNDECIDED),
        (b"A" * 30, Sniffed.UNKNOWN),
        (b"A" * 30 + b" / HTTP/1.1\r\n", Sniffed.UNKNOWN),
        (b"GET /" + b"a" * 5000, Sniffed.HTTP1),
        (b"GET / HTTP/1.1", Sniffed.UNDECIDED),
        (b"\r\n\r", Sniffed.UNDECIDED),
    ],
)
def test_client(data: bytes, expected: Sniffed) -> None:
    """The first bytes of a client decide its protocol as soon as they can be nothing else."""
    assert sniff_client(data) is expected


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\n",
        b"\nGET / HTTP/1.1\r\n",
        b" \tPOST / HTTP/1.1\r\n",
        b"GET  / HTTP/1.1\r\n",
        b"get\t/ HTTP/1.1\r\n",
        b"GET / HTTP/1.1 \r\n",
        b"GET / HTTP/1.1\rHost: a\r\n",
        b"GET /\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ],
)
def test_what_a_lenient_reader_takes_for_a_request(line: bytes) -> None:
    """It is HTTP/1 for the framer to judge, however it is split: opaque, it would be judged by nobody."""
    assert sniff_client(line) is Sniffed.HTTP1
    sniffed = [sniff_client(line[:size]) for size in range(1, len(line))]
    assert set(sniffed) <= {Sniffed.UNDECIDED, Sniffed.HTTP1}


@pytest.mark.parametrize(
    ("whole", "expected"), [(b"POST /a HTTP/1.1\r\n", Sniffed.HTTP1), (HTTP2_PREFACE, Sniffed.HTTP2)]
)
def test_client_beginnings(whole: bytes, expected: Sniffed) -> None:
    """Every part of a beginning that is not yet enough is undecided."""
    assert {sniff_client(whole[:size]) for size in range(1, len(whole))} == {Sniffed.UNDECIDED}
    assert sniff_client(whole) is expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\0\0\0\4\0\0\0\0\0", Sniffed.HTTP2),
        (b"\0\0\x12\4\0\0\0\0\0rest", Sniffed.HTTP2),
        (b"\0\0\x11\4\0\0\0\0\0", Sniffed.UNKNOWN),
        (b"\0\0\0\4\1\0\0\0\0", Sniffed.UNKNOWN),
        (b"\0\0\0\4\0\0\0\0\1", Sniffed.UNKNOWN),
        (b"\0\0\0\4", Sniffed.UNDECIDED),
        (b"220 mail", Sniffed.UNKNOWN),
        (b"HTTP/1.1 408 Timeout\r\n", Sniffed.UNKNOWN),
    ],
)
def test_model(data: bytes, expected: Sniffed) -> None:
    """A model that speaks first is of an unknown protocol, unless it sends HTTP/2 SETTINGS."""
    assert sniff_model(data) is expected


@given(st.binary(min_size=1, max_size=60))
def test_never_undecided_for_ever(data: bytes) -> None:
    """Whatever was decided stays so when more arrives: bytes that follow change nothing."""
    sniffed = sniff_client(data)
    if sniffed is not Sniffed.UNDECIDED:
        assert sniff_client(data + b"more\r\n") is sniffed


def test_long_lines_take_no_long_time() -> None:
    """A line that looks more and more like a request, byte by byte, is judged by its end alone."""
    line = b"GET " + b"HTTP/1" * 650
    assert {sniff_client(line[:size]) for size in range(1, len(line))} == {Sniffed.UNDECIDED}
