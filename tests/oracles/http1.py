"""HTTP/1 as an independent reader sees it, `h11`, and as our framers do; for tests and fuzz targets.

    assert_same_or_flagged(ours, theirs)

is the rule that keeps requests from hiding behind another: a message that both complete is the same, and
where the other reader sees more than ours, ours has stopped.
"""

from dataclasses import dataclass, field
from typing import Any

import h11

from sidecar.protocols import (
    Answer,
    Kind,
    RequestFramer,
    ResponseFramer,
    Stop,
    parse_head,
    parse_trailers,
)

Fields = list[tuple[bytes, bytes]]

# What h11 refuses for other reasons than where messages end. Ours does not judge these.
_NOT_ABOUT_FRAMING = (
    "Missing mandatory Host: header",
    "Found multiple Host: headers",
    "no request line received",  # RFC 9112, section 2.2: ours ignores empty lines there, as it should
    "illegal request line",  # h11 takes no obs-text in a target
    "Server sent",
    "connection ends",
    "might switch",
)


@dataclass
class Message:
    """A message as read: (method, target) or (status,), its fields, and what came of its body."""

    start: tuple[object, ...]
    fields: Fields
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    is_complete: bool = False


@dataclass
class Reading:
    """What a reader saw, and why it went no further (empty: it would go on)."""

    messages: list[Message] = field(default_factory=list)
    stopped: str = ""

    @property
    def complete(self) -> list[Message]:
        return [message for message in self.messages if message.is_complete]


def assert_same_or_flagged(ours: Reading, theirs: Reading) -> None:
    """Both see the same messages, or ours says that it can't follow."""
    mine, others = ours.complete, theirs.complete
    for one, other in zip(mine, others, strict=False):
        assert one == other
    if len(mine) < len(others):
        assert ours.stopped, f"hidden from ours: {others[len(mine)]}"
    if (
        len(mine) > len(others) and not mine[len(others)].trailers
    ):  # h11 judges trailers as if they were headers
        assert any(reason in theirs.stopped for reason in _NOT_ABOUT_FRAMING), (
            f"ours sees what h11 does not ({theirs.stopped}): {mine[len(others)]}"
        )
    if theirs.stopped and not ours.stopped and len(ours.messages) > len(theirs.messages):
        assert any(reason in theirs.stopped for reason in _NOT_ABOUT_FRAMING), theirs.stopped


# -- ours


def our_requests(pieces: list[bytes]) -> Reading:
    """What the request framer tells of a stream in those pieces."""
    return _our_reading(RequestFramer(), pieces)


def our_responses(pieces: list[bytes], answers: list[Answer]) -> Reading:
    """What the response framer tells, with the input's end at the end of the pieces."""
    framer = ResponseFramer()
    for answer in answers:
        framer.expect(answer)
    reading = _our_reading(framer, pieces)
    _take_events(reading, framer.end_of_input())
    return reading


def _our_reading(framer: RequestFramer | ResponseFramer, pieces: list[bytes]) -> Reading:
    reading = Reading()
    held = b""
    for piece in pieces:
        data = held + piece
        events, consumed = framer.feed(data)
        assert 0 <= consumed <= len(data)
        held = data[consumed:]
        _take_events(reading, events)
    return reading


def _take_events(reading: Reading, events: list[tuple[Kind, Any, int]]) -> None:
    for kind, value, _ in events:
        assert not reading.stopped, "a stopped framer says nothing more"
        if kind is Kind.HEAD:
            start = (value.status,) if hasattr(value, "status") else (value.method, value.target)
            reading.messages.append(Message(start, _plain(parse_head(value.raw).fields)))
            if len(start) == 1 and value.status < 200 and value.status != 101:
                reading.messages[-1].is_complete = True
        elif kind is Kind.DATA:
            reading.messages[-1].body += value
        elif kind is Kind.TRAILERS:
            reading.messages[-1].trailers = _plain(parse_trailers(value))
        elif kind is Kind.END:
            reading.messages[-1].is_complete = True
        else:
            assert kind is Kind.STOP
            reading.stopped = Stop(value).name
            if value is Stop.TUNNEL:
                reading.messages[-1].is_complete = True


def _plain(fields: Fields) -> Fields:
    """As h11 gives them: names in lower case, and the coding too."""
    plain = [(bytes(name).lower(), bytes(value)) for name, value in fields]
    return [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in plain]


# -- h11


def requests_by_h11(stream: bytes) -> Reading:
    """What a server of h11 reads, which answers each request at once."""
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    server.receive_data(stream)
    reading = Reading()
    while not reading.stopped and _take_event(reading, server):
        if reading.messages[-1:] and reading.messages[-1].is_complete:
            _answer(reading, server)
    return reading


def _answer(reading: Reading, server: h11.Connection) -> None:
    if server.their_state is h11.MIGHT_SWITCH_PROTOCOL:
        reading.stopped = "might switch"
        return
    server.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
    server.send(h11.EndOfMessage())
    _go_on(reading, server)


def responses_by_h11(stream: bytes, answers: list[Answer]) -> Reading:
    """What a client of h11 reads after it has sent requests of those kinds, one by one."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    client.receive_data(stream)
    client_has_ended = False
    reading = Reading()
    for answer in answers:
        client.send(_request(answer))
        client.send(h11.EndOfMessage())
        before = len(reading.messages)
        while not _is_answered(reading, before) and not reading.stopped:
            if not _take_event(reading, client):
                if client_has_ended:
                    return reading
                client_has_ended = True
                client.receive_data(b"")
        if reading.stopped:
            return reading
        _go_on(reading, client)
        if reading.stopped:
            return reading
    return reading


def _is_answered(reading: Reading, before: int) -> bool:
    final = [message for message in reading.messages[before:] if message.start[0] >= 200]  # type: ignore[operator]
    return bool(final) and final[-1].is_complete


def _request(answer: Answer) -> h11.Request:
    method = {Answer.HEAD: "HEAD", Answer.CONNECT: "CONNECT"}.get(answer, "GET")
    fields = [("Host", "a")]
    if answer is Answer.UPGRADE:
        fields += [("Connection", "upgrade"), ("Upgrade", "x")]
    return h11.Request(method=method, target="a:1" if method == "CONNECT" else "/", headers=fields)


def _go_on(reading: Reading, connection: h11.Connection) -> None:
    if connection.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
        connection.start_next_cycle()
    else:  # h11 keeps no connection with HTTP/1.0 alive
        reading.stopped = "connection ends"


def _take_event(reading: Reading, connection: h11.Connection) -> bool:
    """Note the next event; False where more data is needed."""
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        reading.stopped = str(error) or "refused"
        return True
    if event is h11.NEED_DATA:
        return False
    if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
        switched = connection.their_state in (h11.SWITCHED_PROTOCOL, h11.MIGHT_SWITCH_PROTOCOL)
        reading.stopped = "might switch" if switched else "connection ends"
        if switched and reading.messages:
            reading.messages[-1].is_complete = True
        return True
    if isinstance(event, h11.Request):
        reading.messages.append(Message((event.method, event.target), _plain(list(event.headers))))
    elif isinstance(event, h11.InformationalResponse | h11.Response):
        reading.messages.append(Message((event.status_code,), _plain(list(event.headers))))
        reading.messages[-1].is_complete = isinstance(event, h11.InformationalResponse)
    elif isinstance(event, h11.Data):
        reading.messages[-1].body += bytes(event.data)
    elif isinstance(event, h11.EndOfMessage):
        reading.messages[-1].trailers = _plain(list(event.headers))
        reading.messages[-1].is_complete = True
    return True
