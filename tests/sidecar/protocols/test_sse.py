"""Server-sent events as the WHATWG standard reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.protocols import SseEvent, SseParser, parse_sse

# The standard's own examples (section 9.2.6), and the corners of its grammar.
STREAMS = {
    "one of two lines": (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10", "")]),
    "comments and ids": (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
        [("message", "first event", "1"), ("message", "second event", "")],
    ),
    "empty data": (b"data\n\ndata\ndata\n\ndata:", [("message", "", ""), ("message", "\n", "")]),
    "one space only": (b"data:test\n\ndata: test\n\n", [("message", "test", ""), ("message", "test", "")]),
    "named": (b"event: delta\ndata: {}\n\ndata: x\n\n", [("delta", "{}", ""), ("message", "x", "")]),
    "a name alone": (b"event: ping\n\ndata: x\n\n", [("message", "x", "")]),
    "line ends mixed": (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [("message", c, "") for c in "abc"]),
    "byte order mark": (b"\xef\xbb\xbfdata: \xef\xbb\xbfa\n\n", [("message", "\ufeffa", "")]),
    "broken UTF-8": (b"data: \xff\xc3\xa4\n\n", [("message", "\ufffdä", "")]),
    "id with NUL": (b"id: a\0b\ndata: x\n\n", [("message", "x", "")]),
    "unknown field": (b"foo: bar\nretry: 12\nretry: x\ndata: x\n\n", [("message", "x", "")]),
    "id remembered": (b"id: 7\ndata: x\n\ndata: y\n\n", [("message", "x", "7"), ("message", "y", "7")]),
}


def plain(events: list[SseEvent]) -> list[tuple[str, str, str]]:
    return [(event.event, event.data, event.last_id) for event in events]


@pytest.mark.parametrize("name", STREAMS)
def test_streams_however_split(name: str) -> None:
    """A stream gives the same events whole, byte by byte and split at each point."""
    stream, expected = STREAMS[name]
    assert plain(parse_sse(stream)[0]) == expected
    splits = [[stream[:i], stream[i:]] for i in range(len(stream))]
    for pieces in [[stream[i : i + 1] for i in range(len(stream))], *splits]:
        parser = SseParser()
        assert plain([event for piece in pieces for event in parser.feed(piece)]) == expected


def test_cut_event() -> None:
    """An event that the end cuts off is no event, and is told."""
    assert parse_sse(b"data: a\n\ndata: b\n")[1]
    assert parse_sse(b"data: a\n\ndata")[1]
    assert not parse_sse(b"data: a\n\n: a comment\n")[1]


def test_where_events_end() -> None:
    """Each event tells by which byte it was complete, so that it can be dated by the piece it came in."""
    parser = SseParser()
    assert [event.end for event in parser.feed(b"data: a\n\n")] == [9]
    assert parser.feed(b"data: b\n") == []
    assert [event.end for event in parser.feed(b"\n")] == [18]


def test_retry() -> None:
    """The latest reconnection time that is a number is kept."""
    parser = SseParser()
    parser.feed(b"retry: 1000\nretry: \xc2\xb2\nretry: -1\n")
    assert parser.retry_ms == 1000


@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"\r", b"\n", b"data:", b"id:"])))
def test_any_bytes(pieces: list[bytes]) -> None:
    """Any bytes in any pieces give what the whole gives, and never raise."""
    parser = SseParser()
    events = [event for piece in pieces for event in parser.feed(piece)]
    assert plain(events) == plain(parse_sse(b"".join(pieces))[0])
