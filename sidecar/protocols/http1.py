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

from collections import deque
from functools import lru_cache
from typing import Final

from sidecar.protocols.http1_events import Event, Kind, Stop
from sidecar.protocols.http1_framer import Framer
from sidecar.protocols.http1_heads import (
    Answer,
    RequestHead,
    ResponseHead,
    is_status_line,
    read_request_head,
    read_response_head,
    request_line,
)

_HEAD: Final = Kind.HEAD
_END: Final = Kind.END
_TO_CONNECT: Final = Answer.CONNECT
_TO_UPGRADE: Final = Answer.UPGRADE

# Clients and servers send the same small heads again and again.
_REMEMBERED_HEADS: Final = 512
_LARGEST_REMEMBERED: Final = 2 << 10
_remembered_request: Final = lru_cache(_REMEMBERED_HEADS)(read_request_head)
_remembered_response: Final = lru_cache(_REMEMBERED_HEADS)(read_response_head)

_at_head: Final = Framer._head


class RequestFramer(Framer):
    """From the client's bytes to requests."""

    __slots__ = ("asks_tunnel",)

    def __init__(self) -> None:
        super().__init__()
        # A CONNECT or Upgrade is the latest request, and its answer is not known.
        self.asks_tunnel = False

    def whole(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """Take `data` if it is just one plain request: its head and its body. None: `feed` it."""
        if self._step is not _at_head or self._searched:
            return None
        end = data.find(b"\r\n\r\n") + 4
        head = _remembered_request(data[:end]) if 4 <= end <= _LARGEST_REMEMBERED else None
        if head is None or head.plain_body != len(data) - end:
            return None
        return head, data[end:]

    def resume(self) -> None:
        """The CONNECT or Upgrade was refused: requests may follow."""
        self.asks_tunnel = False
        if self._step is Framer._nothing_more and not self._is_last:
            self._step = Framer._head

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
        self._step = Framer._nothing_more if self._is_last or self.asks_tunnel else Framer._head


class ResponseFramer(Framer):
    """From the model's bytes to responses. `expect` must tell it of each request before the answer comes."""

    __slots__ = ("_expected", "expect")

    def __init__(self) -> None:
        super().__init__()
        self._expected: deque[Answer] = deque()
        self.expect = self._expected.append

    @property
    def is_last(self) -> bool:
        """Whether the latest response said that no other follows."""
        return self._is_last

    @property
    def awaited(self) -> Answer | None:
        """What the next response answers; None where none is awaited."""
        return self._expected[0] if self._expected else None

    def whole(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """Take `data` if it is just one final response: its head and its body. None: `feed` it."""
        if self._step is not _at_head or self._searched or not self._expected:
            return None
        end = data.find(b"\r\n\r\n") + 4
        read = _remembered_response if end <= _LARGEST_REMEMBERED else read_response_head
        head = read(data[:end], self._expected[0]) if end >= 4 else None
        if head is None or head.plain_body != len(data) - end:
            return None
        self._expected.popleft()
        return head, data[end:]

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
        self._step = Framer._nothing_more if self._is_last else Framer._head

    def _stop(self, why: Stop, data: bytes, at: int, events: list[Event], fault: str = "") -> int:
        if self._step is _at_head and (not self._expected or self._is_unasked_switch(data, at)):
            why = Stop.UNEXPECTED
        return super()._stop(why, data, at, events, fault)

    def _is_unasked_switch(self, data: bytes, at: int) -> bool:
        """Whether a clear 101 answers a request that did not ask for it (RFC 9110, section 15.2.2)."""
        end = data.find(b"\r\n\r\n", at) + 4
        head = read_response_head(data[at:end], _TO_UPGRADE)
        return head is not None and head.status == 101
