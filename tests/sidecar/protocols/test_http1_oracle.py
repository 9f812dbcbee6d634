"""The HTTP/1 framers against `h11` on streams that are legal, odd, broken and mixed, however they are split.

The rule is the one of the corpus: same messages, or flagged. Odd parts are drawn from what made real readers
differ.
"""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.protocols import Answer
from tests.oracles.http1 import (
    Reading,
    assert_same_or_flagged,
    our_requests,
    our_responses,
    requests_by_h11,
    responses_by_h11,
)
from tests.oracles.llhttp import assert_none_is_hidden, requests_by_llhttp, responses_by_llhttp

Draw = st.DrawFn


def mostly(plain: list[bytes], odd: list[bytes]) -> st.SearchStrategy[bytes]:
    """One of `plain`; rarely one of `odd`, as a stream has many parts."""
    return st.integers(0, 31).flatmap(lambda number: st.sampled_from(plain if number else odd))


line_ends = mostly([b"\r\n"], [b"\n", b"\r", b"\r\r\n", b" \r\n", b"\r\n ", b"\0\r\n"])
request_lines = mostly(
    [b"GET / HTTP/1.1", b"POST /a?b=c HTTP/1.1", b"HEAD / HTTP/1.1", b"GET http://a/b HTTP/1.1"],
    [
        *(b"GET / HTTP/1.0", b"CONNECT a:1 HTTP/1.1", b"GET  / HTTP/1.1", b"GET / HTTP/1.2", b"GET /", b""),
        *(
            b"GET / HTTP/2.0",
            b" GET / HTTP/1.1",
            b"GET\t/ HTTP/1.1",
            b"GET /\xff HTTP/1.1",
            b"PRI * HTTP/1.1",
        ),
        *(b"G\0T / HTTP/1.1", b"GET / http/1.1", b"GET / HTTP/1.1 ", b"GET /a b HTTP/1.1"),
    ],
)
status_lines = mostly(
    [b"HTTP/1.1 200 OK", b"HTTP/1.1 404 ", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 X", b"HTTP/1.1 500"],
    [
        *(b"HTTP/1.1 100 Continue", b"HTTP/1.1 103 Early", b"HTTP/1.1 101 Switching", b"HTTP/1.0 200 OK"),
        *(b"HTTP/1.1 099 X", b"HTTP/1.1 20 X", b"HTTP/1.1  200 OK", b"HTTP/1.1 200OK", b"ICY 200 OK"),
        *(b"HTTP/1.1 2000 X", b"HTTP/1.1 600 X", b"HTTP/1.2 200 OK", b"http/1.1 200 OK", b"HTTP/1.1 200 \0"),
    ],
)
harmless_fields = mostly(
    [b"Accept: */*", b"X: ", b"x-request-id: mine", b"Cookie: a=b; c=d", b"A:\tb\t", b"A: \xff"],
    [
        *(
            b"X : y",
            b" X: y",
            b"X",
            b": y",
            b"X: a\0b",
            b"X: a\rb",
            b"X\x80: y",
            b"Host:",
            b"X: a\x0bb",
            b"@: y",
        ),
        *(b"Expect: 100-continue", b"Upgrade: x\r\nConnection: upgrade", b"Connection: close", b"\tfolded"),
        *(b"Connection: keep-alive", b"X: y\r\n folded", b"X: y\r\n\tContent-Length: 9", b"X: a\x7fb"),
    ],
)
odd_lengths = st.sampled_from(
    [
        *(b"+%d", b"-%d", b"0%d", b" %d ", b"%d, %d", b"0x%d", b"%d.0", b"%d;", b"%d\tx", b"%d %d", b"\v%d"),
        *(b'"%d"', b"%d_0", b"9999999999999999999%d", b"%de0"),
    ]
)
codings = mostly(
    [b"Transfer-Encoding: chunked", b"transfer-encoding:CHUNKED"],
    [
        *(
            b"Transfer-Encoding: gzip, chunked",
            b"Transfer-Encoding: chunked, chunked",
            b"Transfer-Encoding: ",
        ),
        *(b"Transfer-Encoding: xchunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding: chunked\x0b"),
        *(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        *(
            b"Transfer-Encoding:\r\n chunked",
            b"Transfer_Encoding: chunked",
            b"Transfer-Encoding: chunked;q=1",
        ),
    ],
)
chunk_sizes = mostly(
    [b"%x", b"%X", b"0%x", b"%x;a=b", b'%x;a="c;\\""'],
    [
        *(b"%x ", b" %x", b"0x%x", b"+%x", b"-%x", b"%x_0", b"%x\r", b"00000000000000000000%x", b"%x;"),
        *(b"%x;a b", b"%x;\n", b"%x;a=\x01", b"%x;a=", b"%x;=b", b'%x;a="b', b"%x\t;a=b", b"%x ;a=b"),
    ],
)


@st.composite
def length_fields(draw: Draw, size: int) -> bytes:
    """A Content-Length that mostly tells the truth."""
    if draw(st.integers(0, 15)):
        return b"Content-Length: %d" % size
    form = draw(odd_lengths)
    values = (size, draw(st.integers(0, 20)))[: form.count(b"%d")]
    return b"Content-Length: " + form % values


@st.composite
def chunked_bodies(draw: Draw) -> bytes:
    """Chunks, trailers, and their ends."""
    out = b""
    for piece in draw(st.lists(st.binary(min_size=1, max_size=20), max_size=3)):
        out += draw(chunk_sizes) % len(piece) + draw(line_ends) + piece + draw(line_ends)
    out += draw(mostly([b"0", b"0;last", b"000"], [b"", b"0 ", b"00x0"])) + draw(line_ends)
    for trailer in draw(st.lists(harmless_fields, max_size=2)):
        out += trailer + draw(line_ends)
    return out + draw(line_ends)


@st.composite
def messages(draw: Draw, start_lines: st.SearchStrategy[bytes]) -> bytes:
    """A message whose parts are mostly legal, and rarely agree with each other where they don't."""
    lines = [draw(start_lines), *draw(st.lists(harmless_fields, max_size=3))]
    framing = draw(
        st.sampled_from(
            ["none", "none", "sized", "sized", "sized", "chunked", "chunked", "chunked", "both", "twice"]
        )
    )
    body = draw(st.binary(max_size=20) | st.just(b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"))
    if framing in ("chunked", "both"):
        lines.append(draw(codings))
        body = draw(chunked_bodies())
    if framing in ("sized", "both", "twice"):
        lines.append(draw(length_fields(len(body))))
    if framing == "twice":
        lines.append(draw(length_fields(draw(st.sampled_from([0, len(body), 5])))))
    if framing == "none":
        body = b""
    lines.append(draw(mostly([b"Host: a"], [b"X: no host"])))
    lines[1:] = draw(st.permutations(lines[1:]))
    return b"".join(line + draw(line_ends) for line in lines) + draw(line_ends) + body


def streams(start_lines: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Messages one after the other, with a byte changed or left out in some."""

    @st.composite
    def stream(draw: Draw) -> bytes:
        data = bytearray(b"".join(draw(st.lists(messages(start_lines), min_size=1, max_size=3))))
        change = draw(st.sampled_from(["none", "none", "none", "none", "replace", "remove", "insert"]))
        place = draw(st.integers(0, max(0, len(data) - 1)))
        if change == "remove":
            del data[place : place + 1]
        elif change == "insert":
            data.insert(place, draw(st.sampled_from(b"\r\n\0 \t:;,0a\xff")))
        elif change == "replace" and data:
            data[place] = draw(st.sampled_from(b"\r\n\0 \t:;,0a\xff"))
        return bytes(data)

    return stream()


@st.composite
def cuts(draw: Draw, stream: bytes) -> list[bytes]:
    """The stream byte by byte, or split at any places."""
    if draw(st.booleans()):
        return [stream[place : place + 1] for place in range(len(stream))]
    places = sorted({0, len(stream), *draw(st.lists(st.integers(0, len(stream)), max_size=4))})
    return [stream[first:last] for first, last in itertools.pairwise(places)]


def same_but_for_time(whole: Reading, pieced: Reading) -> None:
    """However it is split: the same messages. A stop may come sooner, never later than with all at hand."""
    assert pieced.messages == whole.messages
    assert pieced.stopped == whole.stopped


@settings(max_examples=250)
@given(st.data())
def test_requests_are_those_of_h11_or_flagged(data: st.DataObject) -> None:
    """Any stream of a client: our messages are h11's, or the framer has stopped; pieces change nothing."""
    stream = data.draw(streams(request_lines))
    ours = our_requests([stream])
    assert_same_or_flagged(ours, requests_by_h11(stream))
    same_but_for_time(ours, our_requests(data.draw(cuts(stream))))


@settings(max_examples=250)
@given(streams(request_lines))
def test_no_request_is_hidden_from_ours_that_llhttp_sees(stream: bytes) -> None:
    """A server that embeds llhttp sees our messages, or the framer has stopped."""
    assert_none_is_hidden(our_requests([stream]), requests_by_llhttp(stream))


@settings(max_examples=250)
@given(streams(status_lines))
def test_no_response_is_hidden_from_ours_that_llhttp_sees(stream: bytes) -> None:
    """Likewise a client."""
    assert_none_is_hidden(our_responses([stream], [Answer.PLAIN] * 9), responses_by_llhttp(stream))


@settings(max_examples=250)
@given(st.data())
def test_responses_are_those_of_h11_or_flagged(data: st.DataObject) -> None:
    """Any stream of a model that ends, after any requests: likewise."""
    stream = data.draw(streams(status_lines))
    answers = data.draw(st.lists(st.sampled_from([Answer.PLAIN] * 4 + list(Answer)), min_size=1, max_size=4))
    ours = our_responses([stream], answers)
    assert_same_or_flagged(ours, responses_by_h11(stream, answers))
    same_but_for_time(ours, our_responses(data.draw(cuts(stream)), answers))
