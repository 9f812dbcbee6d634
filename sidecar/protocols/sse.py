"""Server-sent events, as the WHATWG HTML standard parses them (section 9.2.6).

Pure: bytes in, events out, in pieces of any size. It promises to read what browsers read: UTF-8 with
replacement, one leading byte order mark ignored, lines that end with CR, LF or CRLF, events that end with an
empty line; an event that the stream's end cuts off is not an event, but is told apart (`is_cut`).
"""

import codecs
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event. `event` is "message" where none was named; the lines of `data` are joined by newlines."""

    event: str
    data: str
    last_id: str
    # Offset in the stream, in bytes fed so far, by which the event was complete.
    end: int


class SseParser:
    """Parses one stream. What it keeps is as large as its largest event."""

    __slots__ = (
        "_data",
        "_decoder",
        "_event",
        "_fed",
        "_is_first",
        "_last_id",
        "_line",
        "_skip_newline",
        "retry_ms",
    )

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._line: list[str] = []
        self._data: list[str] = []
        self._event = ""
        self._last_id = ""
        self._is_first = True
        self._skip_newline = False
        self._fed = 0
        # The latest reconnection time that the stream set, None before.
        self.retry_ms: int | None = None

    @property
    def is_cut(self) -> bool:
        """Whether an event has begun that has not ended."""
        return bool(self._line or self._data or self._event)

    def feed(self, piece: bytes) -> list[SseEvent]:
        """The events that `piece` completes."""
        self._fed += len(piece)
        text = self._decoder.decode(piece)
        if not text:
            return []
        if self._is_first:
            self._is_first = False
            text = text.removeprefix("\ufeff")
        if self._skip_newline:  # the CR of a CRLF came with the piece before
            text = text.removeprefix("\n")
        self._skip_newline = text.endswith("\r")
        return self._take_lines(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))

    def _take_lines(self, lines: list[str]) -> list[SseEvent]:
        events = []
        for line in lines[:-1]:
            self._line.append(line)
            whole = "".join(self._line)
            self._line.clear()
            event = self._take(whole)
            if event is not None:
                events.append(event)
        if lines[-1]:
            self._line.append(lines[-1])
        return events

    def _take(self, line: str) -> SseEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")  # a comment has an empty name
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id":
            if "\0" not in value:
                self._last_id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value[:9])
        return None

    def _dispatch(self) -> SseEvent | None:
        data, event = "\n".join(self._data), self._event
        had_data = bool(self._data)
        self._data.clear()
        self._event = ""
        if not had_data:
            return None
        return SseEvent(event or "message", data, self._last_id, self._fed)


def parse_sse(stream: bytes) -> tuple[list[SseEvent], bool]:
    """All events of a whole stream, and whether its end cut one off."""
    parser = SseParser()
    events = parser.feed(stream)
    return events, parser.is_cut
