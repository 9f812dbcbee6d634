"""HTTP/1 framer: bodies and their ends, whichever way messages go (RFC 9112, sections 6 and 7).

Pure. See `sidecar.protocols.http1`, whose two framers are made of this, for what it promises.
"""

import re
from collections.abc import Callable
from typing import Final

from sidecar.protocols.http1_events import MAX_CHUNK_LINE, MAX_HEAD, Event, Kind, Stop
from sidecar.protocols.http1_faults import (
    NO_CHUNK_END,
    NO_CHUNK_LINE,
    NO_TRAILERS,
    NOTHING_MORE,
    TOO_LARGE,
    head_fault,
)
from sidecar.protocols.http1_heads import CHUNKED, FIELDS, TOKEN, UNTIL_CLOSE

_DATA: Final = Kind.DATA
_TRAILERS: Final = Kind.TRAILERS
_END: Final = Kind.END
_STOP: Final = Kind.STOP

# RFC 9112, section 7.1.1, without the "bad white space": whether a reader skips it is not for us to guess.
_QUOTED: Final = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
_EXTENSION: Final = rb";" + TOKEN + rb"(?:=(?:" + TOKEN + rb"|" + _QUOTED + rb"))?"
_match_chunk_line: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:" + _EXTENSION + rb")*+\r\n").match
_match_trailers: Final = re.compile(FIELDS).fullmatch
_bare_line_end: Final = re.compile(rb"\r(?!\n|\Z)|(?<!\r)\n").search


Step = Callable[["Framer", bytes, int, list[Event]], int]


class Framer:
    """What both directions share: bodies, and how data is walked through.

    `_step` is the state: a function that takes the data from an offset, adds events, and returns the offset
    where the next step goes on, or -1 where the rest is to be held back.
    """

    __slots__ = (
        "_is_last",
        "_left",
        "_line_is_checked",
        "_part",
        "_searched",
        "_step",
        "fault",
        "stopped_within",
    )

    def __init__(self) -> None:
        self._step: Step = Framer._head
        # Bytes still to come of a sized body or a chunk.
        self._left = 0
        # Bytes at the front of a held head that are known not to hold its end.
        self._searched = 0
        self._line_is_checked = False
        # The consumed part of a chunk line or trailer section.
        self._part = b""
        self._is_last = False
        # Of a stop that is AMBIGUOUS or TOO_LARGE: what is wrong, in words of ours, and whether the message
        # had begun to pass.
        self.fault = ""
        self.stopped_within = False

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
        if self._step is not Framer._until_close:
            return []
        self._step = Framer._unfollowed
        return [(_END, None, 0)]

    @property
    def is_within(self) -> bool:
        """Whether a message has begun to pass whose end has not."""
        step = self._step
        return not (step is Framer._head or step is Framer._nothing_more or step is Framer._unfollowed)

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
            self._step = Framer._sized
        elif body == 0:
            self._finish(end, events)
        elif body == CHUNKED:
            self._part = b""
            self._step = Framer._chunk_line
        elif body == UNTIL_CLOSE:
            self._step = Framer._until_close
        else:
            events.append((_STOP, Stop.TUNNEL, end))
            self._step = Framer._unfollowed

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
                return self._stop(Stop.AMBIGUOUS, data, at, events, NO_CHUNK_LINE)
            if len(line) > MAX_CHUNK_LINE:
                return self._stop(Stop.TOO_LARGE, data, at, events)
            self._part = line
            return after
        self._part = b""
        self._left = int(match[1], 16)
        self._step = Framer._chunk if self._left else Framer._trailers
        return after

    def _chunk(self, data: bytes, at: int, events: list[Event]) -> int:
        end = at + self._left
        if end > len(data):
            end = len(data)
            self._left -= end - at
        else:
            self._step = Framer._chunk_end
        events.append((_DATA, data[at:end], end))
        return end

    def _chunk_end(self, data: bytes, at: int, events: list[Event]) -> int:
        """The CRLF behind a chunk's data."""
        after = at + 2 - len(self._part)
        line = self._part + data[at:after]
        if line == b"\r\n":
            self._part = b""
            self._step = Framer._chunk_line
            return after
        if line == b"\r":
            self._part = line
            return len(data)
        return self._stop(Stop.AMBIGUOUS, data, at, events, NO_CHUNK_END)

    def _trailers(self, data: bytes, at: int, events: list[Event]) -> int:
        searched = max(0, len(self._part) - 3)
        section = self._part + data[at:]
        end = 2 if section.startswith(b"\r\n") else section.find(b"\r\n\r\n", searched) + 4
        if end == 3:
            if len(section) > MAX_HEAD:
                return self._stop(Stop.TOO_LARGE, data, at, events)
            if _bare_line_end(section, searched) is not None:
                return self._stop(Stop.AMBIGUOUS, data, at, events, NO_TRAILERS)
            self._part = section
            return len(data)
        section = section[:end]
        if end > MAX_HEAD:
            return self._stop(Stop.TOO_LARGE, data, at, events)
        if _match_trailers(section) is None:
            return self._stop(Stop.AMBIGUOUS, data, at, events, NO_TRAILERS)
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
        return self._stop(Stop.AMBIGUOUS, data, at, events, NOTHING_MORE)

    def _unfollowed(self, data: bytes, _at: int, _events: list[Event]) -> int:
        return len(data)

    def _stop(self, why: Stop, data: bytes, at: int, events: list[Event], fault: str = "") -> int:
        self.stopped_within = self.is_within
        self.fault = TOO_LARGE if why is Stop.TOO_LARGE else fault or head_fault(data[at:])
        self._part = b""
        events.append((_STOP, why, at))
        self._step = Framer._unfollowed
        return len(data)
