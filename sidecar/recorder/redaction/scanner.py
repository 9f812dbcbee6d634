"""Scanner: finds what belongs to chosen classes, in time linear in the text."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, Final

import re2

from sidecar.recorder.redaction.shapes import Shape
from sidecar.recorder.redaction.spans import Span, without_overlaps


def _options() -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # a byte is a character
    options.max_mem = 64 << 20
    options.log_errors = False
    return options


class Scanner:
    """Finds what has one of the given shapes."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        """Of two that find the same the first wins. Raises re2.error for a pattern that can't be read."""
        self._shapes = [(shape, re2.compile(shape.pattern.encode(), _options())) for shape in shapes]
        self._hints = _all_hints(shapes)

    def may_hold(self, data: bytes) -> bool:
        """Whether there is any candidate in `data`."""
        return self._hints is not None and bool(self._hints.Match(data))

    def spans(self, data: bytes) -> list[Span]:
        """What was found, in order, without overlaps."""
        if self._hints is None:
            return []
        # One pass over the text for all hints: most texts have none.
        hinted = sorted(self._hints.Match(data) or ())
        found: list[Span] = []
        for number in hinted:
            shape, pattern = self._shapes[number]
            found += _matches(shape, pattern, data)
        return without_overlaps(_outside_uuids(found, data) if found else found)


def _all_hints(shapes: Sequence[Shape]) -> Any:
    """The hints of `shapes` as a set that tells which of them a text holds; None for no shapes."""
    if not shapes:
        return None
    hints = re2.Set.SearchSet(_options())
    for shape in shapes:
        hints.Add(shape.hint.encode())
    hints.Compile()
    return hints


_BACKSLASH: Final = ord("\\")
_ESCAPED: Final = b"bfnrt"


def _matches(shape: Shape, pattern: Any, data: bytes) -> Iterator[Span]:
    for match in pattern.finditer(data):
        start, end = match.span(1)
        if start and data[start - 1] == _BACKSLASH and data[start] in _ESCAPED:
            start += 1  # of an escape, which is no part of what follows: `\\n@decorator.of.python`
        for first, last in shape.narrow(data[start:end]):
            if not shape.ends or _may_end(data, start + last, shape.ends):
                yield Span(start + first, start + last, shape.kind, data[start + first : start + last])


# RFC 9562, section 4: an id, whatever number its digits look like.
_UUID: Final = re.compile(
    rb"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])"
)


def _outside_uuids(found: list[Span], data: bytes) -> list[Span]:
    """Those of `found` that are no part of a UUID: calls are looked up by them."""
    ids = [match.span() for match in _UUID.finditer(data)]
    if not ids:
        return found
    starts = [start for start, _ in ids]

    def is_within(span: Span) -> bool:
        number = bisect_right(starts, span.start) - 1
        return number >= 0 and span.end <= ids[number][1]

    return [span for span in found if not is_within(span)]


def _may_end(data: bytes, end: int, ends: bytes) -> bool:
    """Whether what ends before `end` is not part of something longer, such as 1.2.3.4.5."""
    following = data[end : end + 2]
    return not (following and following[:1] in ends) and not (
        following[:1] == b"." and following[1:].isdigit()
    )
