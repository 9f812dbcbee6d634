"""HTTP/1 heads: what a head says about framing and identity (RFC 9112, RFC 9110).

Pure. It reads strictly: a head about which two readers could differ is None, never a guess.
"""

import re
from enum import IntEnum
from typing import Final, NamedTuple

# -- how a body is framed, where it is not by a length (which is 0 or more)
CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2
TUNNEL: Final = -3
# In `plain_body`: the connection does not just go on after this message.
NOT_PLAIN: Final = -4


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
    # None where there is no such field; CROWDED where there is no room for one either.
    request_id: bytes | None
    traceparent: bytes
    # `raw` without the empty line: what a field is added to.
    lines: bytes
    # The body's length where nothing but that is to be known of it and of what follows, else below zero.
    plain_body: int


class ResponseHead(NamedTuple):
    """A response's head. `body` is a length, CHUNKED, UNTIL_CLOSE, TUNNEL, or 0."""

    raw: bytes
    status: int
    body: int
    is_last: bool
    # As in a request.
    request_id: bytes | None
    # The body is a stream of server-sent events.
    is_event_stream: bool
    # As in a request, of a final response.
    lines: bytes
    plain_body: int


class ParsedHead(NamedTuple):
    """A head taken apart, for reading: start line, and fields in order with their names as sent."""

    start_line: bytes
    fields: list[tuple[bytes, bytes]]


# Stands for the id of a head that lacks one, and to which adding one could make its reader refuse it. Readers
# set limits at 100 fields and at multiples of 8 KiB.
CROWDED: Final = b"\0crowded"
_FIELDS_LIMIT: Final = 100
_BYTES_LIMIT: Final = 8 << 10
# What may be added: the longest id, and `Connection: close`.
_ADDED_FIELDS: Final = 2
_ADDED_BYTES: Final = 192
# Heads smaller than this are not crowded in any way.
_ROOMY: Final = 256

# RFC 9110, section 5.6.2 (token) and 5.5 (a value holds no control characters; readers differ about them).
# A name is followed by its colon at once (RFC 9112, section 5.1); a line never begins with white space (5.2).
TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
FIELDS: Final = rb"(?:" + TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n"
# RFC 9113, section 11.6: no method is called PRI.
_REQUEST_LINE: Final = rb"((?!PRI )" + TOKEN + rb") ([\x21-\x7e\x80-\xff]++) HTTP/1\.([01])\r\n"
_STATUS_LINE: Final = rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*+)?\r\n"

_match_request_line: Final = re.compile(_REQUEST_LINE).match
_match_status_line: Final = re.compile(_STATUS_LINE).match
_match_request: Final = re.compile(_REQUEST_LINE + FIELDS).fullmatch
_match_response: Final = re.compile(_STATUS_LINE + FIELDS).fullmatch

# What decides about framing and identity; only in heads that have been matched already.
_notable_fields: Final = re.compile(
    rb"\n(content-length|transfer-encoding|connection|upgrade|x-request-id|traceparent):[ \t]*([^\r]*)",
    re.IGNORECASE,
).findall
_is_event_stream: Final = re.compile(
    rb"\ncontent-type:[ \t]*text/event-stream[ \t]*[;\r]", re.IGNORECASE
).search
_LENGTH: Final = len("content-length")
_CONNECTION: Final = len("connection")
_UPGRADE: Final = len("upgrade")
_REQUEST_ID: Final = len("x-request-id")
_TRACEPARENT: Final = len("traceparent")
# Stays below 2**63.
MAX_DIGITS: Final = 18

_FINAL_WHITE: Final = b" \t"
_KEEP_ALIVE: Final = frozenset((b"keep-alive", b"Keep-Alive"))

# Members looked up once: an enum's attributes are slow.
_PLAIN: Final = Answer.PLAIN
_TO_HEAD: Final = Answer.HEAD
_TO_CONNECT: Final = Answer.CONNECT
_TO_UPGRADE: Final = Answer.UPGRADE


def request_line(data: bytes) -> tuple[bytes, bytes] | None:
    """Method and target of the request line that `data` begins with, None where it does not."""
    match = _match_request_line(data)
    return None if match is None else (match[1], match[2])


def is_status_line(data: bytes) -> bool:
    """Whether `data` begins with a status line."""
    return _match_status_line(data) is not None


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


def is_crowded(raw: bytes) -> bool:
    """Whether the head `raw` is so near to a limit of usual readers that nothing may be added."""
    if len(raw) < _ROOMY:
        return False
    fields = raw.count(b"\n") - 2
    return fields <= _FIELDS_LIMIT < fields + _ADDED_FIELDS or -len(raw) % _BYTES_LIMIT < _ADDED_BYTES


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
            if length is not None or is_chunked or len(value) > MAX_DIGITS or not value.isdigit():
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
    if request_id is None and is_crowded(raw):
        request_id = CROWDED
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
    plain = NOT_PLAIN if is_last or answer > _TO_HEAD else body
    return RequestHead(raw, method, target, body, answer, is_last, request_id, traceparent, raw[:-2], plain)


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
    if length and answer is not _TO_HEAD and (status < 200 or status == 204):
        # Must not be (RFC 9112, section 6.1; RFC 9110, section 8.6), and some read a body there.
        return None
    body = _response_body(status, length, answer)
    is_last = connection not in _KEEP_ALIVE and _is_last(connection, version)
    # The cheap look is enough for nearly all: nobody spells this type otherwise.
    is_events = b"event-stream" in raw and _is_event_stream(raw) is not None
    plain = NOT_PLAIN if is_last or status < 200 else body
    return ResponseHead(raw, status, body, is_last, request_id, is_events, raw[:-2], plain)


def _response_body(status: int, length: int | None, answer: Answer) -> int:
    """How a response's body is framed: RFC 9112, section 6.3, rules 1 to 8 in order."""
    if answer is _TO_HEAD or status < 200 or status in (204, 304):
        return TUNNEL if status == 101 else 0
    if answer is _TO_CONNECT and status < 300:
        return TUNNEL
    return UNTIL_CLOSE if length is None else length
