"""What is wrong, in words of ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.protocols import Answer, RequestFramer, ResponseFramer
from sidecar.protocols.http1_faults import UNCLEAR, head_fault


@pytest.mark.parametrize(
    ("head", "fault"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n", "Content-Length that is no plain number"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding in HTTP/1.0"),
        (b"HTTP/1.1 204 X\r\nContent-Length: 1\r\n\r\n", "content with a status that has none"),
        (b"HTTP/1.1 103 X\r\nTransfer-Encoding: chunked\r\n\r\n", "content with a status that has none"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "malformed start line"),
        (b"GET / HTTP/1.1\r\nHost: a\r\rB: c\r\n\r\n", "a line that ends with CR or LF alone"),
        (b"GET / HTTP/1.1\r\nHost\r\n\r\n", "malformed header field"),
        (b"GET / HTTP/1.1\r\n\r\n", UNCLEAR),
        (b"", "malformed start line"),
        (b"GET / HTTP/1.1\r\nA: b\r\n\r\nbody\nwith\rlines", UNCLEAR),
    ],
)
def test_faults(head: bytes, fault: str) -> None:
    """The first fault of a head is named; what follows the head is none of it."""
    assert head_fault(head) == fault


def test_faults_of_framers() -> None:
    """A framer that has stopped says why, and whether the message had begun to pass."""
    framer = RequestFramer()
    framer.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab")
    assert (framer.fault, framer.stopped_within) == ("chunk data that is not followed by CRLF", True)
    framer = RequestFramer()
    framer.feed(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\nGET")
    assert framer.fault.startswith("bytes after the last message")
    assert not framer.stopped_within
    response = ResponseFramer()
    response.expect(Answer.HEAD)
    assert response.awaited is Answer.HEAD
    response.feed(b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n")
    assert (response.fault, response.awaited) == ("a line that ends with CR or LF alone", Answer.HEAD)


@given(st.binary(max_size=200) | st.text(alphabet="aA: \r\n\t\0", max_size=60).map(str.encode))
def test_words_of_ours(data: bytes) -> None:
    """Whatever comes has a fault, of a closed set of words: nothing of what was read."""
    fault = head_fault(data)
    assert fault
    assert fault.isascii()
    assert fault.isprintable()
    assert len(fault) < 60


def test_long_heads_take_no_long_time() -> None:
    """White space without end is read once: this test would take hours if it were read again and again."""
    head = b"GET / HTTP/1.1\r\nContent-Length: a" + b" " * 60_000 + b"b\r\n\r\n"
    for _ in range(100):
        assert head_fault(head) == "Content-Length that is no plain number"
