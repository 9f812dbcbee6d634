"""HTTP/1: where messages begin and end. Bytes in, events out (RFC 9112, RFC 9110).

Pure. One framer for each direction of a connection. It promises:

- Only an incomplete head is asked to be held back, at most MAX_HEAD bytes; everything else is consumed at once.
- Bytes are never changed and never lost: events speak of offsets in the data fed.
- It reads strictly. What two readers could read differently stops the framer with AMBIGUOUS, before a head could
  be found where another reader sees a body. A stopped framer consumes everything and says nothing more.
- Bad traffic is an event, never an exception.

What it keeps between calls: a few integers, a part of a chunk line (at most MAX_CHUNK_LINE) or of a trailer section
(at most MAX_HEAD).
"""

import re
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple

MAX_HEAD: Final = 64 << 10
MAX_CHUNK_LINE: Final = 4 << 10

# -- how a body is framed, where it is not by a length (which is 0 or more)
CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2
TUNNEL: Final = -3


class Kind(IntEnum):
    """What an event tells; the second column is its value."""

    HEAD = 1  # RequestHead or ResponseHead
    DATA = 2  # bytes of the body, without chunk framing
    TRAILERS = 3  # the raw trailer section, with its final empty line
    END = 4  # None: the message is complete
    STOP = 5  # Stop: nothing from here on is followed


class Stop(IntEnum):
    """Why a framer stopped."""

    # Two readers could disagree about where messages begin and end.
    AMBIGUOUS = 1
    # A head, trailer section or chunk line beyond its limit.
    TOO_LARGE = 2
    # After 101, or a 2xx to CONNECT: another protocol begins.
    TUNNEL = 3
    # A response that no request asked for.
    UNEXPECTED = 4


# Kind, value, and the offset in the data fed where the thing ends (for STOP: where unfollowed bytes begin).
Event = tuple[Kind, Any, int]


class Answer(IntEnum):
    """What a request means for the framing of its response (RFC 9112, section 6.3)."""

    PLAIN = 0
    HEAD = 1
    CONNECT = 2
    UPGRADE = 3


class RequestHead(NamedTuple):
    """A request's head. `body` is a length, CHUNKED, or 0."""

    raw: bytes
    method: bytes
    target: bytes
    body: int
    answer: Answer
    # The client sends no further request (RFC 9112, section 9.3).
    is_last: bool
    # None where there is no such field.
    request_id: bytes | None
    traceparent: bytes


class ResponseHead(NamedTuple):
    """A response's head. `body` is a length, CHUNKED, UNTIL_CLOSE, TUNNEL, or 0."""

    raw: bytes
    status: int
    body: int
    is_last: bool
    request_id: bytes | None


class ParsedHead(NamedTuple):
    """A head taken apart, for reading: start line, and fields in order with their names as sent."""

    start_line: bytes
    fields: list[tuple[bytes, bytes]]


# RFC 9110, section 5.6.2 (token) and 5.5 (a value holds no control characters; readers differ about them).
# A name is followed by its colon at once (RFC 9112, section 5.1); a line never begins with white space (5.2).
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_FIELDS: Final = rb"(?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n"
# RFC 9113, section 11.6: no method is called PRI.
_REQUEST_LINE: Final = rb"((?!PRI )" + _TOKEN + rb") ([\x21-\x7e\x80-\xff]++) HTTP/1\.([01])\r\n"
_STATUS_LINE: Final = rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*+)?\r\n"

_match_request_line: Final = re.compile(_REQUEST_LINE).match
_match_status_line: Final = re.compile(_STATUS_LINE).match
_match_request: Final = re.compile(_REQUEST_LINE + _FIELDS).fullmatch
_match_response: Final = re.compile(_STATUS_LINE + _FIELDS).fullmatch
_match_trailers: Final = re.compile(_FIELDS).fullmatch

# What decides about framing and identity; only in heads that have been matched already.
_notable_fields: Final = re.compile(
    rb"\n(content-length|transfer-encoding|connection|upgrade|x-request-id|traceparent):[ \t]*([^\r]*)",
    re.IGNORECASE,
).findall
_LENGTH: Final = len("content-length")
_CONNECTION: Final = len("connection")
_UPGRADE: Final = len("upgrade")
_REQUEST_ID: Final = len("x-request-id")
_TRACEPARENT: Final = len("traceparent")
# Stays below 2**63.
_MAX_DIGITS: Final = 18
# RFC 9112, section 7.1.1, without the "bad white space": whether a reader skips it is not for us to guess.
_QUOTED: Final = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
_EXTENSION: Final = rb";" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
_match_chunk_line: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:" + _EXTENSION + rb")*+\r\n").match
_bare_line_end: Final = re.compile(rb"\r(?!\n|\Z)|(?<!\r)\n").search

_FINAL_WHITE: Final = b" \t"
_KEEP_ALIVE: Final = frozenset((b"keep-alive", b"Keep-Alive"))

# Members looked up once: an enum's attributes are slow.
_PLAIN: Final = Answer.PLAIN
_TO_HEAD: Final = Answer.HEAD
_TO_CONNECT: Final = Answer.CONNECT
_TO_UPGRADE: Final = Answer.UPGRADE
_HEAD: Final = Kind.HEAD
_DATA: Final = Kind.DATA
_TRAILERS: Final = Kind.TRAILERS
_END: Final = Kind.END
_STOP: Final = Kind.STOP


def request_line(data: bytes) -> tuple[bytes, bytes] | None:
    """Method and target of the request line that `data` begins with, None where it does not."""
    match = _match_request_line(data)
    return None if match is None else (match[1], match[2])


def parse_head(raw: bytes) -> ParsedHead:
    """Take any head apart, for reading only: lenient, and never raises."""
    start_line, *lines = raw.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon:
            fields.append((name, value.strip(_FINAL_WHITE)))
    return ParsedHead(start_line, fields)


def parse_trailers(raw: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of a trailer section."""
    return parse_head(b"\n" + raw).fields


def _is_last(connection: bytes, version: bytes) -> bool:
    """RFC 9112, section 9.3: whether the connection ends after this message."""
    if not connection:
        return version == b"0"
    options = [option.strip(_FINAL_WHITE) for option in connection.lower().split(b",")]
    if b"close" in options:
        return True
    return version == b"0" and b"keep-alive" not in options


# Length (None for none), chunked, `connection`, upgrade asked for, request id (None for none), traceparent.
_Fields = tuple[int | None, bool, bytes, bool, bytes | None, bytes]


def _read_fields(raw: bytes, version: bytes) -> _Fields | None:
    """The fields that matter, None where framing is ambiguous (RFC 9112, sections 6.1 to 6.3)."""
    length: int | None = None
    is_chunked = has_upgrade = False
    connection = traceparent = b""
    request_id = None
    for name, padded in _notable_fields(raw):
        value = padded.rstrip(_FINAL_WHITE)
        # Told apart by their lengths, which all differ.
        size = len(name)
        if size == _LENGTH:
            # Twice, or with a transfer coding, or no plain number (RFC 9110, section 8.6).
            if length is not None or is_chunked or len(value) > _MAX_DIGITS or not value.isdigit():
                return None
            length = int(value)
        elif size == _CONNECTION:
            connection = connection + b"," + value if connection else value
        elif size == _REQUEST_ID:
            if request_id is None:
                request_id = value
        elif size == _TRACEPARENT:
            traceparent = value
        elif size == _UPGRADE:
            has_upgrade = True
        else:  # transfer-encoding; RFC 9112, section 6.1: HTTP/1.0 does not have it
            if length is not None or is_chunked or version == b"0" or value.lower() != b"chunked":
                return None
            is_chunked = True
    return length, is_chunked, connection, has_upgrade, request_id, traceparent


def read_request_head(raw: bytes) -> RequestHead | None:
    """The request head `raw`, which ends with its empty line; None where readers could differ about it."""
    match = _match_request(raw)
    if match is None:
        return None
    method, target, version = match.groups()
    fields = _read_fields(raw, version)
    if fields is None:
        return None
    length, is_chunked, connection, has_upgrade, request_id, traceparent = fields
    answer = _PLAIN
    if method == b"HEAD":
        answer = _TO_HEAD
    elif method == b"CONNECT":
        if length or is_chunked:  # RFC 9110, section 9.3.6: such content has no meaning
            return None
        answer = _TO_CONNECT
    elif has_upgrade and version == b"1":  # RFC 9110, section 7.8: HTTP/1.0 does not have it
        answer = _TO_UPGRADE
    is_last = connection not in _KEEP_ALIVE and _is_last(connection, version)
    # RFC 9112, section 6.3, rule 7: a request without a length has no body.
    body = CHUNKED if is_chunked else length or 0
    return RequestHead(raw, method, target, body, answer, is_last, request_id, traceparent)


def read_response_head(raw: bytes, answer: Answer) -> ResponseHead | None:
    """The head `raw` of a response to a request of that kind; None where readers could differ about it."""
    match = _match_response(raw)
    if match is None:
        return None
    version, digits = match.groups()
    fields = _read_fields(raw, version)
    if fields is None:
        return None
    length, is_chunked, connection, _, request_id, _ = fields
    status = int(digits)
    if status == 101 and answer is not _TO_UPGRADE:
        return None
    if is_chunked:
        length = CHUNKED
    body = _response_body(status, length, answer)
    is_last = connection not in _KEEP_ALIVE and _is_last(connection, version)
    return ResponseHead(raw, status, body, is_last, request_id)


def _response_body(status: int, length: int | None, answer: Answer) -> int:
    """How a response's body is framed: RFC 9112, section 6.3, rules 1 to 8 in order."""
    if answer is _TO_HEAD or status < 200 or status in (204, 304):
        return TUNNEL if status == 101 else 0
    if answer is _TO_CONNECT and status < 300:
        return TUNNEL
    return UNTIL_CLOSE if length is None else length


# Clients and servers send the same small heads again and again.
_REMEMBERED_HEADS: Final = 512
_LARGEST_REMEMBERED: Final = 2 << 10
_remembered_request: Final = lru_cache(_REMEMBERED_HEADS)(read_request_head)
_remembered_response: Final = lru_cache(_REMEMBERED_HEADS)(read_response_head)


Step = Callable[["_Framer", bytes, int, list[Event]], int]


class _Framer:
    """What both directions share: bodies, and how data is walked through.

    `_step` is the state: a function that takes the data from an offset, adds events, and returns the offset where
    the next step goes on, or -1 where the rest is to be held back.
    """

    __slots__ = ("_is_last", "_left", "_line_is_checked", "_part", "_searched", "_step")

    def __init__(self) -> None:
        self._step: Step = _Framer._head
        # Bytes still to come of a sized body or a chunk.
        self._left = 0
        # Bytes at the front of a held head that are known not to hold its end.
        self._searched = 0
        self._line_is_checked = False
        # The consumed part of a chunk line or trailer section.
        self._part = b""
        self._is_last = False

    def feed(self, data: bytes) -> tuple[list[Event], int]:
        """Events of `data`, and how much of it is consumed; the rest must come again in front of what follows."""
        events: list[Event] = []
        at = 0
        size = len(data)
        while at < size:
            onward = self._step(self, data, at, events)
            if onward < 0:
                break
            at = onward
        return events, at

    def end_of_input(self) -> list[Event]:
        """The sender has ended: completes a body that ends with the connection (RFC 9112, section 6.3, rule 8)."""
        if self._step is not _Framer._until_close:
            return []
        self._step = _Framer._unfollowed
        return [(_END, None, 0)]

    # -- what the directions do differently

    def _read_head(self, raw: bytes, end: int, events: list[Event]) -> bool:
        """Tell the head and choose the next step; False where it is ambiguous or unexpected."""
        raise NotImplementedError

    def _is_start_line(self, data: bytes) -> bool:
        raise NotImplementedError

    def _finish(self, at: int, events: list[Event]) -> None:
        """The message ends at `at`."""
        raise NotImplementedError

    # -- heads

    def _head(self, data: bytes, at: int, events: list[Event]) -> int:
        searched = self._searched
        end = data.find(b"\r\n\r\n", searched if searched > at else at) + 4
        if end == 3:
            return self._incomplete_head(data, at, events)
        if end - at > MAX_HEAD:
            return self._stop(Stop.TOO_LARGE, data, at, events)
        self._searched = 0
        self._line_is_checked = False
        if self._read_head(data[at:end], end, events):
            return end
        if self._may_skip_line(data, at):
            return at + 2
        return self._stop(Stop.AMBIGUOUS, data, at, events)

    def _incomplete_head(self, data: bytes, at: int, events: list[Event]) -> int:
        """Hold it, unless it can't become a head: nobody may wait for an end that another reader has seen."""
        if self._may_skip_line(data, at):
            return at + 2
        size = len(data) - at
        if size > MAX_HEAD:
            return self._stop(Stop.TOO_LARGE, data, at, events)
        if _bare_line_end(data, max(at, self._searched)) is not None:
            return self._stop(Stop.AMBIGUOUS, data, at, events)
        if not self._line_is_checked and data.find(b"\n", max(at, self._searched)) >= 0:
            if not self._is_start_line(data[at:]):
                return self._stop(Stop.AMBIGUOUS, data, at, events)
            self._line_is_checked = True
        self._searched = max(0, size - 3)
        return -1

    def _may_skip_line(self, data: bytes, at: int) -> bool:
        """RFC 9112, section 2.2: an empty line before a request line is ignored."""
        return False

    # -- bodies

    def _begin_body(self, body: int, end: int, events: list[Event]) -> None:
        if body > 0:
            self._left = body
            self._step = _Framer._sized
        elif body == 0:
            self._finish(end, events)
        elif body == CHUNKED:
            self._part = b""
            self._step = _Framer._chunk_line
        elif body == UNTIL_CLOSE:
            self._step = _Framer._until_close
        else:
            events.append((_STOP, Stop.TUNNEL, end))
            self._step = _Framer._unfollowed

    def _sized(self, data: bytes, at: int, events: list[Event]) -> int:
        end = at + self._left
        if end > len(data):
            end = len(data)
            self._left -= end - at
            events.append((_DATA, data[at:], end))
            return end
        events.append((_DATA, data[at:end], end))
        self._finish(end, events)
        return end

    def _until_close(self, data: bytes, at: int, events: list[Event]) -> int:
        events.append((_DATA, data[at:], len(data)))
        return len(data)

    def _chunk_line(self, data: bytes, at: int, events: list[Event]) -> int:
        part = self._part
        if part:
            after = data.find(b"\n", at) + 1 or len(data)
            line = part + data[at:after]
            match = _match_chunk_line(line)
        else:
            match = _match_chunk_line(data, at)
            after = match.end() if match else data.find(b"\n", at) + 1 or len(data)
            line = b"" if match else data[at:after]
        if match is None:
            if line.endswith(b"\n"):
                return self._stop(Stop.AMBIGUOUS, data, at, events)
            if len(line) > MAX_CHUNK_LINE:
                return self._stop(Stop.TOO_LARGE, data, at, events)
            self._part = line
            return after
        self._part = b""
        self._left = int(match[1], 16)
        self._step = _Framer._chunk if self._left else _Framer._trailers
        return after

    def _chunk(self, data: bytes, at: int, events: list[Event]) -> int:
        end = at + self._left
        if end > len(data):
            end = len(data)
            self._left -= end - at
        else:
            self._step = _Framer._chunk_end
        events.append((_DATA, data[at:end], end))
        return end

    def _chunk_end(self, data: bytes, at: int, events: list[Event]) -> int:
        """The CRLF behind a chunk's data."""
        after = at + 2 - len(self._part)
        line = self._part + data[at:after]
        if line == b"\r\n":
            self._part = b""
            self._step = _Framer._chunk_line
            return after
        if line == b"\r":
            self._part = line
            return len(data)
        return self._stop(Stop.AMBIGUOUS, data, at, events)

    def _trailers(self, data: bytes, at: int, events: list[Event]) -> int:
        section = self._part + data[at:]
        end = 2 if section.startswith(b"\r\n") else section.find(b"\r\n\r\n") + 4
        if end == 3:
            if len(section) > MAX_HEAD:
                return self._stop(Stop.TOO_LARGE, data, at, events)
            if _bare_line_end(section) is not None:
                return self._stop(Stop.AMBIGUOUS, data, at, events)
            self._part = section
            return len(data)
        section = section[:end]
        if end > MAX_HEAD:
            return self._stop(Stop.TOO_LARGE, data, at, events)
        if _match_trailers(section) is None:
            return self._stop(Stop.AMBIGUOUS, data, at, events)
        after = at + end - len(self._part)
        self._part = b""
        if end > 2:
            events.append((_TRAILERS, section, after))
        self._finish(after, events)
        return after

    # -- after the last message

    def _nothing_more(self, data: bytes, at: int, events: list[Event]) -> int:
        """No message may follow: after the last one, or while it is open which protocol follows."""
        if self._may_skip_line(data, at):
            return at + 2
        return self._stop(Stop.AMBIGUOUS, data, at, events)

    def _unfollowed(self, data: bytes, at: int, events: list[Event]) -> int:
        return len(data)

    def _stop(self, why: Stop, data: bytes, at: int, events: list[Event]) -> int:
        self._part = b""
        events.append((_STOP, why, at))
        self._step = _Framer._unfollowed
        return len(data)


class RequestFramer(_Framer):
    """From the client's bytes to requests."""

    __slots__ = ("asks_tunnel",)

    def __init__(self) -> None:
        super().__init__()
        # A CONNECT or Upgrade is the latest request, and its answer is not known.
        self.asks_tunnel = False

    def resume(self) -> None:
        """The CONNECT or Upgrade was refused: requests may follow."""
        self.asks_tunnel = False
        if self._step is _Framer._nothing_more and not self._is_last:
            self._step = _Framer._head

    def _read_head(self, raw: bytes, end: int, events: list[Event]) -> bool:
        head = (_remembered_request if len(raw) <= _LARGEST_REMEMBERED else read_request_head)(raw)
        if head is None:
            return False
        self._is_last = head.is_last
        if head.answer is _TO_CONNECT or head.answer is _TO_UPGRADE:
            self.asks_tunnel = True
        events.append((_HEAD, head, end))
        self._begin_body(head.body, end, events)
        return True

    def _is_start_line(self, data: bytes) -> bool:
        return _match_request_line(data) is not None

    def _may_skip_line(self, data: bytes, at: int) -> bool:
        return data.startswith(b"\r\n", at)

    def _finish(self, at: int, events: list[Event]) -> None:
        events.append((_END, None, at))
        # Bytes behind an unanswered CONNECT or Upgrade belong to a protocol that is not chosen yet.
        closed = self._is_last or self.asks_tunnel
        self._step = _Framer._nothing_more if closed else _Framer._head


class ResponseFramer(_Framer):
    """From the model's bytes to responses. Must be told of each request by `expect`, before its answer comes."""

    __slots__ = ("_expected", "expect")

    def __init__(self) -> None:
        super().__init__()
        self._expected: deque[Answer] = deque()
        self.expect = self._expected.append

    def _read_head(self, raw: bytes, end: int, events: list[Event]) -> bool:
        if not self._expected:
            return False
        read = _remembered_response if len(raw) <= _LARGEST_REMEMBERED else read_response_head
        head = read(raw, self._expected[0])
        if head is None:
            return False
        events.append((_HEAD, head, end))
        if head.status < 200 and head.body == 0:
            return True  # RFC 9110, section 15.2: interim; the final response follows
        self._expected.popleft()
        self._is_last = head.is_last
        self._begin_body(head.body, end, events)
        return True

    def _is_start_line(self, data: bytes) -> bool:
        return _match_status_line(data) is not None

    def _finish(self, at: int, events: list[Event]) -> None:
        events.append((_END, None, at))
        self._step = _Framer._nothing_more if self._is_last else _Framer._head

    def _stop(self, why: Stop, data: bytes, at: int, events: list[Event]) -> int:
        if self._step is _Framer._head and not self._expected:
            why = Stop.UNEXPECTED
        return super()._stop(why, data, at, events)
