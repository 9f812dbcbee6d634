"""HTTP/1: where messages begin and end. Bytes in, events out (RFC 9112, RFC 9110).

Pure. One framer for each direction of a connection. It promises:

- Only an incomplete head is asked to be held back, at most MAX_HEAD bytes; all else is consumed at once.
- Bytes are never changed and never lost: events speak of offsets in the data fed.
- It reads strictly. What two readers could read differently stops the framer with AMBIGUOUS, before a head
  could be found where another reader sees a body. A stopped framer consumes everything and says nothing more.
- Bad traffic is an event, never an exception.

What it keeps between calls: a few integers, a part of a chunk line (at most MAX_CHUNK_LINE) or of a trailer
section (at most MAX_HEAD).
"""

import re
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final

from sidecar.protocols.http1_heads import (
    CHUNKED,
    FIELDS,
    TOKEN,
    UNTIL_CLOSE,
    Answer,
    RequestHead,
    ResponseHead,
    is_status_line,
    read_request_head,
    read_response_head,
    request_line,
)

MAX_HEAD: Final = 64 << 10
MAX_CHUNK_LINE: Final = 4 << 10


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


_HEAD: Final = Kind.HEAD
_DATA: Final = Kind.DATA
_TRAILERS: Final = Kind.TRAILERS
_END: Final = Kind.END
_STOP: Final = Kind.STOP
_TO_CONNECT: Final = Answer.CONNECT
_TO_UPGRADE: Final = Answer.UPGRADE

# RFC 9112, section 7.1.1, without the "bad white space": whether a reader skips it is not for us to guess.
_QUOTED: Final = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
_EXTENSION: Final = rb";" + TOKEN + rb"(?:=(?:" + TOKEN + rb"|" + _QUOTED + rb"))?"
_match_chunk_line: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:" + _EXTENSION + rb")*+\r\n").match
_match_trailers: Final = re.compile(FIELDS).fullmatch
_bare_line_end: Final = re.compile(rb"\r(?!\n|\Z)|(?<!\r)\n").search

# Clients and servers send the same small heads again and again.
_REMEMBERED_HEADS: Final = 512
_LARGEST_REMEMBERED: Final = 2 << 10
_remembered_request: Final = lru_cache(_REMEMBERED_HEADS)(read_request_head)
_remembered_response: Final = lru_cache(_REMEMBERED_HEADS)(read_response_head)


Step = Callable[["_Framer", bytes, int, list[Event]], int]


class _Framer:
    """What both directions share: bodies, and how data is walked through.

    `_step` is the state: a function that takes the data from an offset, adds events, and returns the offset
    where the next step goes on, or -1 where the rest is to be held back.
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
        """Events of `data`, and how much of it is consumed; the rest must come again before what follows."""
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
        """The sender has ended: completes a body that ends so (RFC 9112, section 6.3, rule 8)."""
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
        """Whether an empty line stands at `at`, and is ignored."""
        raise NotImplementedError

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

    def _unfollowed(self, data: bytes, _at: int, _events: list[Event]) -> int:
        return len(data)

    def _stop(self, why: Stop, data: bytes, at: int, events: list[Event]) -> int:
        self._part = b""
        events.append((_STOP, why, at))
        self._step = _Framer._unfollowed
        return len(data)


_at_head: Final = _Framer._head


class RequestFramer(_Framer):
    """From the client's bytes to requests."""

    __slots__ = ("asks_tunnel",)

    def __init__(self) -> None:
        super().__init__()
        # A CONNECT or Upgrade is the latest request, and its answer is not known.
        self.asks_tunnel = False

    def whole(self, data: bytes) -> tuple[RequestHead, int] | None:
        """Take `data` if it is just one plain request: its head, and where that ends. None: `feed` it."""
        if self._step is not _at_head or self._searched:
            return None
        end = data.find(b"\r\n\r\n") + 4
        head = _remembered_request(data[:end]) if 4 <= end <= _LARGEST_REMEMBERED else None
        if head is None or end + head.body != len(data) or head.is_last or head.answer > Answer.HEAD:
            return None
        return head, end

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
        return request_line(data) is not None

    def _may_skip_line(self, data: bytes, at: int) -> bool:
        return data.startswith(b"\r\n", at)  # RFC 9112, section 2.2: before a request line

    def _finish(self, at: int, events: list[Event]) -> None:
        events.append((_END, None, at))
        # Bytes behind an unanswered CONNECT or Upgrade belong to a protocol that is not chosen yet.
        self._step = _Framer._nothing_more if self._is_last or self.asks_tunnel else _Framer._head


class ResponseFramer(_Framer):
    """From the model's bytes to responses. `expect` must tell it of each request before the answer comes."""

    __slots__ = ("_expected", "expect")

    def __init__(self) -> None:
        super().__init__()
        self._expected: deque[Answer] = deque()
        self.expect = self._expected.append

    def whole(self, data: bytes) -> tuple[ResponseHead, int] | None:
        """Take `data` if it is just one final response: its head, and where that ends. None: `feed` it."""
        if self._step is not _at_head or self._searched or not self._expected:
            return None
        end = data.find(b"\r\n\r\n") + 4
        read = _remembered_response if end <= _LARGEST_REMEMBERED else read_response_head
        head = read(data[:end], self._expected[0]) if end >= 4 else None
        if head is None or end + head.body != len(data) or head.is_last or head.status < 200:
            return None
        self._expected.popleft()
        return head, end

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
        return is_status_line(data)

    def _may_skip_line(self, _data: bytes, _at: int) -> bool:
        return False

    def _finish(self, at: int, events: list[Event]) -> None:
        events.append((_END, None, at))
        self._step = _Framer._nothing_more if self._is_last else _Framer._head

    def _stop(self, why: Stop, data: bytes, at: int, events: list[Event]) -> int:
        if self._step is _Framer._head and not self._expected:
            why = Stop.UNEXPECTED
        return super()._stop(why, data, at, events)
