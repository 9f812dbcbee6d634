"""HTTP/1 as llhttp reads it, the parser of Node.js, which many servers embed; by way of `httptools`."""

from typing import Any

import httptools

from tests.oracles.http1 import Message, Reading


def assert_none_is_hidden(ours: Reading, theirs: Reading) -> None:
    """What both complete begins and says the same; where llhttp goes on and sees more, ours has stopped.

    llhttp refuses more than ours for other reasons than framing: then it has stopped, and is asked no more.
    It leaves two things to the programs that embed it, and is asked no more then either: the body of a
    request for an upgrade, and that 1xx, 204 and 304 have none, whatever they say (RFC 9112, section 6.3).
    """
    mine, others = ours.complete, theirs.complete
    for number, (one, other) in enumerate(zip(mine, others, strict=False), 1):
        assert one.start == other.start
        if _is_left_to_others(one, other) or (theirs.stopped == "upgraded" and number == len(others)):
            return
        assert one.body == other.body
    if theirs.messages[len(mine) :] and _is_left_to_others(Message((), []), theirs.messages[len(mine)]):
        return
    assert len(mine) >= len(others) or ours.stopped, f"hidden from ours: {others[len(mine)]}"
    assert len(mine) <= len(others) or theirs.stopped, f"llhttp does not see {mine[len(others)]}"


def _is_left_to_others(one: Message, other: Message) -> bool:
    status = other.start[0]
    has_none = isinstance(status, int) and (status < 200 or status in (204, 304))
    return has_none and one.body != other.body


def requests_by_llhttp(stream: bytes) -> Reading:
    """What a server reads."""
    listener = _Listener()
    parser = httptools.HttpRequestParser(listener)
    listener.start = lambda: (parser.get_method(), listener.url)
    return _read(listener, parser, stream)


def responses_by_llhttp(stream: bytes) -> Reading:
    """What a client reads that asked for nothing special, with the input's end in the end."""
    listener = _Listener()
    parser = httptools.HttpResponseParser(listener)
    listener.start = lambda: (parser.get_status_code(),)
    reading = _read(listener, parser, stream)
    # It is not told of the end: a body until then is complete if it has a head.
    if not reading.stopped and reading.messages and not reading.messages[-1].is_complete:
        reading.stopped = "open at the end"
    return reading


def _read(listener: "_Listener", parser: Any, stream: bytes) -> Reading:
    try:
        # Byte by byte: what comes before an error in the same piece is told, too.
        for place in range(len(stream)):
            parser.feed_data(stream[place : place + 1])
    except httptools.HttpParserUpgrade:
        listener.reading.stopped = "upgraded"
    except httptools.HttpParserError as error:
        listener.reading.stopped = str(error) or "refused"
    return listener.reading


class _Listener:
    """What the parser calls."""

    def __init__(self) -> None:
        self.reading = Reading()
        self.url = b""
        self.start: Any = None

    def on_message_begin(self) -> None:
        self.url = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_headers_complete(self) -> None:
        self.reading.messages.append(Message(self.start(), []))

    def on_body(self, body: bytes) -> None:
        self.reading.messages[-1].body += body

    def on_message_complete(self) -> None:
        self.reading.messages[-1].is_complete = True
