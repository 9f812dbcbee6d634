"""HTTP/1 framing: whole, byte by byte, split anywhere; against h11; and what readers could differ about."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.protocols import (
    CHUNKED,
    CROWDED,
    MAX_HEAD,
    NOT_PLAIN,
    UNTIL_CLOSE,
    Answer,
    Kind,
    RequestFramer,
    ResponseFramer,
    Stop,
    is_crowded,
    parse_head,
    parse_trailers,
    read_request_head,
    read_response_head,
    request_line,
)

Framer = RequestFramer | ResponseFramer
# An event as tests compare it: body pieces joined, offsets counted over the whole stream.
Told = tuple[Kind, object, int]


def requests() -> RequestFramer:
    return RequestFramer()


def responses(*answers: Answer) -> ResponseFramer:
    framer = ResponseFramer()
    for answer in answers or (Answer.PLAIN,):
        framer.expect(answer)
    return framer


def tell(framer: Framer, pieces: list[bytes]) -> tuple[list[Told], bytes]:
    """All events of `pieces` fed one after the other, and what is held at the end."""
    told: list[Told] = []
    held, base = b"", 0
    for piece in pieces:
        data = held + piece
        events, consumed = framer.feed(data)
        for kind, value, end in events:
            if kind is Kind.DATA and told and told[-1][0] is Kind.DATA:
                told[-1] = (kind, told[-1][1] + value, base + end)
            else:
                told.append((kind, value, base + end))
        held = data[consumed:]
        base += consumed
    return told, held


def split_ways(stream: bytes) -> list[list[bytes]]:
    """The stream whole, byte by byte, and split once at each point."""
    bytewise = [stream[i : i + 1] for i in range(len(stream))]
    return [[stream], bytewise] + [[stream[:i], stream[i:]] for i in range(1, len(stream))]


def kinds(told: list[Told]) -> list[Kind]:
    return [kind for kind, _, _ in told]


def bodies(told: list[Told]) -> list[bytes]:
    return [value for kind, value, _ in told if kind is Kind.DATA]


HEAD, DATA, TRAILERS, END, STOP = Kind.HEAD, Kind.DATA, Kind.TRAILERS, Kind.END, Kind.STOP

REQUEST_STREAMS = {
    "without body": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", [HEAD, END]),
    "sized": (b"POST / HTTP/1.1\r\ncontent-LENGTH:  5 \r\n\r\nhello", [HEAD, DATA, END]),
    "of length 0": (b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", [HEAD, END]),
    "chunked": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n"
        b'1;a=b;c="d;\\""\r\n!\r\n0\r\n\r\n',
        [HEAD, DATA, END],
    ),
    "with trailers": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n00\r\nA: b\r\nC: d\r\n\r\n",
        [HEAD, DATA, TRAILERS, END],
    ),
    "pipelined": (
        b"GET /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 1\r\n\r\nxGET /3 HTTP/1.1\r\n\r\n",
        [HEAD, END, HEAD, DATA, END, HEAD, END],
    ),
    "behind empty lines": (
        b"\r\n\r\nGET /1 HTTP/1.1\r\n\r\n\r\nGET /2 HTTP/1.1\r\n\r\n",
        [HEAD, END, HEAD, END],
    ),
    "the last": (
        b"GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        [HEAD, END, STOP],
    ),
    "of HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n", [HEAD, END, STOP]),
    "of HTTP/1.0, kept alive": (
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        [HEAD, END, HEAD, END],
    ),
    "absolute form, odd bytes": (
        b"GET http://a/\xc3\xa4?b HTTP/1.1\r\nX: \xe4 : \t\r\nY:\r\n\r\n",
        [HEAD, END],
    ),
    "odd but legal heads": (
        b"x!#$%&'*+-.^_`|~9 /%7B%7d/\xff?\"<>{}|\\^` HTTP/1.1\r\n"
        b"!#$%&'*+-.^_`|~9A:\r\nEmpty:\r\nSpaces: \t \r\nTabs:\ta\tb\t\r\n"
        b'Obs: \x80\xff caf\xe9\r\nColons::::\r\nQuoted: "a, \\"b"\r\nCookie: a=b;c=d\r\n\r\n',
        [HEAD, END],
    ),
    "asterisk and authority forms": (
        b"OPTIONS * HTTP/1.1\r\n\r\nGET http://u@[::1]:80/?q HTTP/1.1\r\nHost: x\r\n\r\n",
        [HEAD, END, HEAD, END],
    ),
    "waiting for 100": (
        b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n",
        [HEAD, DATA, END, HEAD, END],
    ),
    "that look alike": (
        b"POST / HTTP/1.1\r\nX-Content-Length: 9\r\nContent-Length-X: 9\r\nX: \tContent-Length: 9\r\n"
        b"Transfer-Encodings: chunked\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        [HEAD, END, HEAD, END],
    ),
    "chunked with all that is allowed": (
        b"POST / HTTP/1.1\r\nTRANSFER-ENCODING:\tCHUNKED \t\r\n\r\n"
        b'00a;n;n=v;n="\t \xe9;\\""\r\n0123\r\n5678\r\n0;last="0"\r\nA:\r\nB: \xff\t\r\n\r\n'
        b"GET / HTTP/1.1\r\n\r\n",
        [HEAD, DATA, TRAILERS, END, HEAD, END],
    ),
    "behind a CONNECT": (b"CONNECT a:1 HTTP/1.1\r\n\r\n\x16\x03\x01", [HEAD, END, STOP]),
    "behind an upgrade": (
        b"POST / HTTP/1.1\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\nxGET / HTTP/1.1\r\n\r\n",
        [HEAD, DATA, END, STOP],
    ),
}

RESPONSE_STREAMS = {
    "sized": ((), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", [HEAD, DATA, END]),
    "without reason": ((), b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", [HEAD, END]),
    "until close": ((), b"HTTP/1.1 200 OK\r\n\r\nhi there", [HEAD, DATA]),
    "chunked": (
        (Answer.PLAIN, Answer.PLAIN),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\nE: f\r\n\r\n"
        b"HTTP/1.1 204 No Content\r\n\r\n",
        [HEAD, DATA, TRAILERS, END, HEAD, END],
    ),
    "to HEAD": (
        (Answer.HEAD, Answer.PLAIN),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        [HEAD, END, HEAD, END],
    ),
    "interim first": (
        (),
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1",
        [HEAD, HEAD, HEAD, DATA, END],
    ),
    "switching": (
        (Answer.UPGRADE,),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x81\x00",
        [HEAD, STOP],
    ),
    "upgrade refused": (
        (Answer.UPGRADE,),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        [HEAD, DATA, END],
    ),
    "connected": ((Answer.CONNECT,), b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x16\x03", [HEAD, STOP]),
    "connect refused": (
        (Answer.CONNECT,),
        b"HTTP/1.1 403 No\r\nContent-Length: 1\r\n\r\nx",
        [HEAD, DATA, END],
    ),
    "HTTP/1.0 that goes on": (
        (Answer.PLAIN, Answer.PLAIN),
        b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\n1HTTP/1.0 200 OK\r\n\r\n23",
        [HEAD, DATA, END, HEAD, DATA],
    ),
    "without content whatever the head says": (
        (Answer.PLAIN, Answer.HEAD, Answer.PLAIN, Answer.PLAIN),
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"HTTP/1.1 200 \xff\tok\r\nContent-Length: 0\r\n\r\n",
        [HEAD, END, HEAD, END, HEAD, END, HEAD, END],
    ),
    "interim of all kinds": (
        (Answer.HEAD, Answer.PLAIN),
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 199 x\r\nContent-Length: 0\r\n\r\n"
        b"HTTP/1.1 204 A\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n",
        [HEAD, HEAD, HEAD, END, HEAD, HEAD, END],
    ),
    "connected, with a coding": (
        (Answer.CONNECT,),
        b"HTTP/1.1 299 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
        [HEAD, STOP],
    ),
    "unasked switch": (
        (),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x81\x00",
        [STOP],
    ),
    "unasked": (
        (),
        b"HTTP/1.1 204 A\r\n\r\nHTTP/1.1 408 B\r\nContent-Length: 0\r\n\r\n",
        [HEAD, END, STOP],
    ),
    "behind the last": (
        (Answer.PLAIN, Answer.PLAIN),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        [HEAD, END, STOP],
    ),
}


@pytest.mark.parametrize("name", REQUEST_STREAMS)
def test_requests_however_split(name: str) -> None:
    """A stream of requests gives the same events whole, byte by byte and split at each point."""
    stream, expected = REQUEST_STREAMS[name]
    whole, held = tell(requests(), [stream])
    assert kinds(whole) == expected
    assert held == b""
    for pieces in split_ways(stream):
        told, held = tell(requests(), pieces)
        assert without_stop_offset(told) == without_stop_offset(whole)
        assert held == b""


@pytest.mark.parametrize("name", RESPONSE_STREAMS)
def test_responses_however_split(name: str) -> None:
    """A stream of responses gives the same events whole, byte by byte and split at each point."""
    answers, stream, expected = RESPONSE_STREAMS[name]
    whole, _ = tell(responses(*answers), [stream])
    assert kinds(whole) == expected
    for pieces in split_ways(stream):
        told, held = tell(responses(*answers), pieces)
        assert without_stop_offset(told) == without_stop_offset(whole)
        assert held == b""


def without_stop_offset(told: list[Told]) -> list[Told]:
    """Bytes of a chunk line are passed on before it is judged, so where a stop lies depends on the pieces."""
    return [(kind, value, 0 if kind is STOP else end) for kind, value, end in told]


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 0x1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\x0b\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1111111111111111111\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length : 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding:\x0bchunked\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET / HTTP/1.1\r\n: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nH(st: a\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1 \r\n\r\n",
        b"GET / http/1.1\r\n\r\n",
        b"GET / HTTP/1.2\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET /\r\n\r\n",
        b"PRI * HTTP/1.1\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nContent-Length: 1\r\n\r\n",
    ],
)
def test_ambiguous_request_heads(head: bytes) -> None:
    """A head about which readers could differ stops the framer, however it is split, and is not told."""
    for pieces in split_ways(head):
        told, held = tell(requests(), pieces)
        assert [(kind, value) for kind, value, _ in told] == [(STOP, Stop.AMBIGUOUS)]
        assert held == b""


@pytest.mark.parametrize(
    ("answer", "head"),
    [
        (Answer.PLAIN, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (Answer.PLAIN, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
        (Answer.PLAIN, b"HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\n"),
        (Answer.PLAIN, b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (Answer.PLAIN, b"HTTP/1.1 100 Continue\r\nContent-Length: 1\r\n\r\n"),
        (Answer.UPGRADE, b"HTTP/1.1 101 Switching\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (Answer.PLAIN, b"HTTP/1.1 20 OK\r\n\r\n"),
        (Answer.PLAIN, b"HTTP/1.1 099 OK\r\n\r\n"),
        (Answer.PLAIN, b"HTTP/1.1  200 OK\r\n\r\n"),
        (Answer.PLAIN, b"HTTP/1.1 200 OK\nContent-Length: 1\n\nx"),
        (Answer.PLAIN, b"\r\nHTTP/1.1 200 OK\r\n\r\n"),
        (Answer.PLAIN, b"ICY 200 OK\r\n\r\n"),
    ],
)
def test_ambiguous_response_heads(answer: Answer, head: bytes) -> None:
    """The same for responses."""
    for pieces in split_ways(head):
        told, held = tell(responses(answer), pieces)
        assert [(kind, value) for kind, value, _ in told] == [(STOP, Stop.AMBIGUOUS)]
        assert held == b""


@pytest.mark.parametrize(
    "body",
    [
        b"0x1\r\nx\r\n0\r\n\r\n",
        b" 1\r\nx\r\n0\r\n\r\n",
        b"1 \r\nx\r\n0\r\n\r\n",
        b"1\nx\r\n0\r\n\r\n",
        b"\r\n\r\n",
        b"-1\r\n",
        b"1_0\r\n",
        b"10000000000000000\r\n",
        b"1;a\nb\r\nx\r\n0\r\n\r\n",
        b"1;\r\nx\r\n0\r\n\r\n",
        b'1;a="\r\nx\r\n0\r\n\r\n',
        b"1\r\nxy\r\n0\r\n\r\n",
        b"1\r\nx\n0\r\n\r\n",
        b"0\r\nbad trailer\r\n\r\n",
        b"0\r\nA: b\nC: d\r\n\r\n",
        b"0\r\n A: b\r\n\r\n",
    ],
)
def test_ambiguous_chunks(body: bytes) -> None:
    """Chunk framing that readers could take differently stops the framer before the message is complete."""
    stream = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"GET /x HTTP/1.1\r\n\r\n"
    for pieces in split_ways(stream):
        told, held = tell(requests(), pieces)
        assert END not in kinds(told)
        assert told[-1][:2] == (STOP, Stop.AMBIGUOUS)
        assert held == b""


@pytest.mark.parametrize(
    "stream",
    [
        b"GET / HTTP/1.1\r\nA: " + b"a" * MAX_HEAD,
        b"GET / HTTP/1.1\r\nA: " + b"a" * MAX_HEAD + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * MAX_HEAD,
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: " + b"a" * MAX_HEAD,
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: " + b"a" * MAX_HEAD + b"\r\n\r\n",
    ],
)
@pytest.mark.parametrize("size", [1 << 20, 1000])
def test_too_large(stream: bytes, size: int) -> None:
    """What is held or remembered is bounded: beyond the limit the framer stops and holds nothing."""
    told, held = tell(requests(), [stream[i : i + size] for i in range(0, len(stream), size)])
    assert told[-1][:2] == (STOP, Stop.TOO_LARGE)
    assert held == b""


def test_largest_head() -> None:
    """A head of 64 KiB is read, and one of a byte more is not, in whatever pieces it comes."""
    start, end = b"GET / HTTP/1.1\r\nA: ", b"\r\n\r\n"
    largest = start + b"a" * (MAX_HEAD - len(start) - len(end)) + end
    for size in (1 << 20, 10_000, MAX_HEAD - 1, MAX_HEAD - 3):
        for stream, expected in ((largest, [HEAD, END]), (start + b"a" + largest[len(start) :], [STOP])):
            told, _ = tell(requests(), [stream[i : i + size] for i in range(0, len(stream), size)])
            assert kinds(told) == expected


def test_is_within() -> None:
    """A message is within its bytes from its head to its end, and nothing is once the framer has stopped."""
    framer = requests()
    seen = []
    for piece in (b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n", b"a", b"b", b"GET / HTTP/1.1\n"):
        framer.feed(piece)
        seen.append(framer.is_within)
    assert seen == [True, True, False, False]


def test_until_close_ends_with_the_input() -> None:
    """A body without a length is complete when the model ends, and nothing else is."""
    framer = responses()
    tell(framer, [b"HTTP/1.1 200 OK\r\n\r\nhi"])
    assert kinds(framer.end_of_input()) == [END]
    assert framer.end_of_input() == []
    cut = responses()
    tell(cut, [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"])
    assert cut.end_of_input() == []


def test_a_refused_tunnel_lets_requests_follow() -> None:
    """After `resume` the next request is followed; without it nothing is, as it may be another protocol."""
    framer = requests()
    tell(framer, [b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"])
    framer.resume()
    assert kinds(tell(framer, [b"GET / HTTP/1.1\r\n\r\n"])[0]) == [HEAD, END]


def test_a_tunnel_refused_early_lets_requests_follow() -> None:
    """The answer to an upgrade may come before its request is complete."""
    framer = requests()
    tell(framer, [b"POST / HTTP/1.1\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\na"])
    framer.resume()
    assert kinds(tell(framer, [b"bGET / HTTP/1.1\r\n\r\n"])[0]) == [DATA, END, HEAD, END]


def test_request_head_facts() -> None:
    """A request head tells what identifies the call, with white space around values removed."""
    raw = b"PUT /a?b HTTP/1.1\r\nX-Request-ID: \tabc \r\nTraceparent:00-x\r\nX-request-id: no\r\n\r\n"
    head = read_request_head(raw)
    assert head is not None
    assert head == (raw, b"PUT", b"/a?b", 0, Answer.PLAIN, False, b"abc", b"00-x", raw[:-2], 0)


def test_response_head_facts() -> None:
    """A response head tells status and framing, which depend on the request."""
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nx-request-id:\r\n\r\n"
    lines = raw[:-2]
    assert read_response_head(raw, Answer.PLAIN) == (raw, 200, CHUNKED, False, b"", False, lines, CHUNKED)
    assert read_response_head(raw, Answer.HEAD) == (raw, 200, 0, False, b"", False, lines, 0)
    plain = b"HTTP/1.0 200 OK\r\n\r\n"
    lines = plain[:-2]
    expected = (plain, 200, UNTIL_CLOSE, True, None, False, lines, NOT_PLAIN)
    assert read_response_head(plain, Answer.PLAIN) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"Content-Type: text/event-stream", True),
        (b"content-type:text/event-stream; charset=utf-8", True),
        (b"Content-Type: text/event-streams", False),
        (b"Content-Type: application/x; a=text/event-stream", False),
        (b"X-Content-Type: text/event-stream", False),
        (b"Accept: text/event-stream", False),
    ],
)
def test_event_streams(field: bytes, expected: bool) -> None:
    """A response head tells whether its body is a stream of server-sent events."""
    head = read_response_head(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n\r\n", Answer.PLAIN)
    assert head is not None
    assert head.is_event_stream is expected


def test_crowded_heads() -> None:
    """A head near 100 fields, or near a multiple of 8 KiB, has no room for an id; its own it keeps."""
    many = [b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * count + b"\r\n" for count in range(98, 102)]
    assert [is_crowded(raw) for raw in many] == [False, True, True, False]
    long = {
        size: b"GET / HTTP/1.1\r\nA: " + b"b" * (size - 23) + b"\r\n\r\n" for size in (200, 8000, 8001, 8192)
    }
    assert {size: is_crowded(raw) for size, raw in long.items()} == {
        200: False,
        8000: False,
        8001: True,
        8192: True,
    }
    assert [len(raw) for raw in long.values()] == list(long)
    head = read_request_head(long[8192])
    assert head is not None
    assert head.request_id is CROWDED
    own = read_request_head(many[1].replace(b"A: b", b"X-Request-Id: own", 1))
    assert own is not None
    assert own.request_id == b"own"


def test_request_line() -> None:
    """Only a complete and plain request line is one."""
    assert request_line(b"GET /a HTTP/1.1\r\nrest") == (b"GET", b"/a")
    assert request_line(b"GET /a HTTP/1.1") is None


@given(st.binary(max_size=300))
def test_parse_head_never_raises(raw: bytes) -> None:
    """Reading a head for the record copes with anything."""
    parse_head(raw)


def test_parse_head() -> None:
    """A head is taken apart in order, names as sent, values without the white space around them."""
    parsed = parse_head(b"GET / HTTP/1.1\r\nHost:  a \r\nA: b: c\r\nA:\r\n\r\n")
    assert parsed == (b"GET / HTTP/1.1", [(b"Host", b"a"), (b"A", b"b: c"), (b"A", b"")])
    assert parse_trailers(b"X: y\r\n\r\n") == [(b"X", b"y")]


@given(
    st.lists(
        st.binary(max_size=40) | st.sampled_from([b"\r\n", b"GET / HTTP/1.1", b"0\r\n", b": "]), max_size=12
    )
)
def test_garbage_never_raises(pieces: list[bytes]) -> None:
    """Any bytes give events or are held; nothing raises, and at most a head is held."""
    for framer in (requests(), responses(*[Answer.PLAIN] * 5)):
        _, held = tell(framer, pieces)
        assert b"".join(pieces).endswith(held)


# -- h11 as the oracle

_tokens = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_.!~", min_size=1, max_size=12)
_values = st.text([chr(c) for c in range(0x21, 0x7F)] + [" "], max_size=20).map(str.strip)
_reserved = {
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "host",
    "expect",
    "keep-alive",
    "te",
}
_fields = st.lists(st.tuples(_tokens, _values).filter(lambda f: f[0].lower() not in _reserved), max_size=4)
_body = st.lists(st.binary(min_size=1, max_size=30), max_size=4)


@st.composite
def messages(draw: st.DrawFn, start_lines: list[str], with_host: bool) -> bytes:
    """A legal message, sized or chunked."""
    fields, pieces = draw(_fields), draw(_body)
    lines = [draw(st.sampled_from(start_lines))]
    lines += [f"{name}:{draw(st.sampled_from(['', ' ', '  ']))}{value}" for name, value in fields]
    if with_host:
        lines.append("Host: a")
    if draw(st.booleans()):
        lines.append(draw(st.sampled_from(["Transfer-Encoding: chunked", "transfer-encoding:CHUNKED"])))
        framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        trailer = draw(st.sampled_from([b"", b"X-Sum: 1\r\n"]))
        body = framed + b"0\r\n" + trailer + b"\r\n"
    else:
        body = b"".join(pieces)
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def h11_reading(
    role: type[h11.CLIENT] | type[h11.SERVER], stream: bytes, count: int
) -> list[tuple[object, bytes]]:
    """Start and body of each message, as h11 reads the stream."""
    connection = h11.Connection(role)
    read: list[tuple[object, bytes]] = []
    if role is h11.CLIENT:
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
    connection.receive_data(stream)
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            read.append(((event.method, event.target), b""))
        elif isinstance(event, h11.Response):
            read.append((event.status_code, b""))
        elif isinstance(event, h11.Data):
            read[-1] = (read[-1][0], read[-1][1] + bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            if len(read) == count:
                return read
            connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            connection.start_next_cycle()


def our_reading(framer: Framer, pieces: list[bytes]) -> list[tuple[object, bytes]]:
    read: list[tuple[object, bytes]] = []
    for kind, value, _ in tell(framer, pieces)[0]:
        assert kind is not STOP
        if kind is HEAD:
            start = (value.method, value.target) if isinstance(framer, RequestFramer) else value.status
            read.append((start, b""))
        elif kind is DATA:
            read[-1] = (read[-1][0], read[-1][1] + value)
    return read


@given(
    st.lists(
        messages(["GET / HTTP/1.1", "POST /a/b?c HTTP/1.1", "X-Y http://a/ HTTP/1.1"], True),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 40),
)
def test_requests_as_h11_reads_them(stream: list[bytes], size: int) -> None:
    """Legal pipelined requests have the starts, bodies and boundaries that h11 sees."""
    whole = b"".join(stream)
    pieces = [whole[i : i + size] for i in range(0, len(whole), size)]
    assert our_reading(requests(), pieces) == h11_reading(h11.SERVER, whole, len(stream))


@given(messages(["HTTP/1.1 200 OK", "HTTP/1.1 404 ", "HTTP/1.1 500 Oh no"], False), st.integers(1, 40))
def test_responses_as_h11_reads_them(stream: bytes, size: int) -> None:
    """A legal response has the status and body that h11 sees."""
    pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
    assert our_reading(responses(), pieces) == h11_reading(h11.CLIENT, stream, 1)


WHOLE_REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
]
OTHER_REQUESTS = [
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcG",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n",
    b"nonsense\r\n\r\n",
]


@pytest.mark.parametrize("data", WHOLE_REQUESTS)
def test_whole_request(data: bytes) -> None:
    """A plain request alone in a read is taken at once, as `feed` would tell it, and another may follow."""
    framer = RequestFramer()
    (_, head, end), *_ = RequestFramer().feed(data)[0]
    assert framer.whole(data) == framer.whole(data) == (head, data[end:])
    assert framer.feed(data) == RequestFramer().feed(data)


@pytest.mark.parametrize("data", OTHER_REQUESTS)
def test_no_whole_request(data: bytes) -> None:
    """Anything else is left to `feed`, which tells the same as if it had not been looked at."""
    framer = RequestFramer()
    assert framer.whole(data) is None
    assert framer.feed(data) == RequestFramer().feed(data)


def test_whole_response() -> None:
    """A final response alone in a read answers one request; interim, last, open and unasked ones are fed."""
    plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    framer = ResponseFramer()
    assert framer.whole(plain) is None
    framer.expect(Answer.PLAIN)
    for other in (
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        plain + b"H",
        plain[:-1],
    ):
        assert framer.whole(other) is None
    taken = framer.whole(plain)
    assert taken is not None
    assert (taken[0].status, taken[1]) == (200, b"hi")
    assert framer.whole(plain) is None
    framer.expect(Answer.HEAD)
    assert framer.whole(plain) is None
    assert framer.whole(plain[:-2]) is not None


def test_whole_only_between_messages() -> None:
    """In a body, or with a part of a head fed before, what looks like a whole message is none."""
    framer = RequestFramer()
    framer.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\n")
    assert framer.whole(WHOLE_REQUESTS[0]) is None
    framer = RequestFramer()
    assert framer.feed(WHOLE_REQUESTS[0][:-2]) == ([], 0)
    assert framer.whole(WHOLE_REQUESTS[0]) is None
    assert framer.feed(WHOLE_REQUESTS[0])[1] == len(WHOLE_REQUESTS[0])
