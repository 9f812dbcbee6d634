"""Event stream: the payloads of server-sent events, and the text that they stand in (HTML standard, 9.2.6).

Pure. An event's data lines are one payload. What is written holds every other line as it came, but for what
redaction takes out of it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

_LINE_END: Final = re.compile(r"\r\n|\n|\r")
_DATA: Final = "data: "
_END: Final = "\n\n"
# Between two events that have one data line each and no other.
_BETWEEN: Final = _END + _DATA


@dataclass(frozen=True, slots=True)
class EventStream:
    """A stream taken apart."""

    payloads: list[str]
    # For each line either its text, or the number of the payload that stands there; None where it is nothing
    # but events of one data line.
    _shape: list[str | int] | None = None

    def written(self, payloads: Sequence[str], line: Callable[[str], str]) -> str:
        """The stream with `payloads`, as many as there are; `line` redacts what stands between them."""
        if self._shape is None:
            return f"{_DATA}{_BETWEEN.join(map(_folded, payloads))}{_END}"
        out = []
        for part in self._shape:
            out.append(_DATA + _folded(payloads[part]) if isinstance(part, int) else part and line(part))
        return "\n".join(out)


def _folded(payload: str) -> str:
    return payload.replace("\n", "\n" + _DATA) if "\n" in payload else payload


def event_stream(text: str) -> EventStream:
    """`text` taken apart."""
    return _of_single_lines(text) or _of_lines(text)


def _of_single_lines(text: str) -> EventStream | None:
    """The same at the speed of C, where it is as most language models have it: each event one data line."""
    if not text.startswith(_DATA) or not text.endswith(_END) or "\r" in text:
        return None
    inner = text[len(_DATA) : -len(_END)]
    payloads = inner.split(_BETWEEN)
    return EventStream(payloads) if inner.count("\n") == len(_END) * (len(payloads) - 1) else None


def _of_lines(text: str) -> EventStream:
    lines = _LINE_END.split(text) if "\r" in text else text.split("\n")
    payloads: list[list[str]] = []
    shape: list[str | int] = []
    in_data = False
    for line in lines:
        name, colon, value = line.partition(":")
        is_data = name == "data" and bool(colon)
        if not is_data:
            shape.append(line)
        elif in_data:
            payloads[-1].append(value.removeprefix(" "))
        else:
            payloads.append([value.removeprefix(" ")])
            shape.append(len(payloads) - 1)
        in_data = is_data
    return EventStream(["\n".join(data) for data in payloads], shape)
