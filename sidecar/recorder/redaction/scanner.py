"""Scanner: finds what belongs to chosen classes, in time linear in the text."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import re2

from sidecar.recorder.redaction.digit_lanes import within_reason
from sidecar.recorder.redaction.locating import Pattern, options
from sidecar.recorder.redaction.own_patterns import OwnPatterns
from sidecar.recorder.redaction.shapes import Shape, follows
from sidecar.recorder.redaction.spans import Span, without_overlaps
from sidecar.recorder.redaction.time_allowed import TimeAllowed


class Scanner:
    """Finds what has one of the given shapes."""

    def __init__(
        self, shapes: Sequence[Shape], own: Sequence[Shape] = (), allowed: TimeAllowed | None = None
    ) -> None:
        """Of two that find the same the first wins, `own` rules before what is built in.

        Raises re2.error for a pattern that can't be read.
        """
        self._patterns = [Pattern(shape) for shape in shapes]
        self._hints = _all_hints(shapes)
        self.allowed = TimeAllowed() if allowed is None else allowed
        self._own = OwnPatterns(own, self.allowed)

    def may_hold(self, data: bytes) -> bool:
        """Whether there is any candidate in `data`."""
        self.allowed.spend(len(data))
        return (self._hints is not None and bool(self._hints.Match(data))) or self._own.may_hold(data)

    def spans(self, data: bytes) -> list[Span]:
        """What was found, in order, without overlaps. Raises OverTimeError."""
        found = list(self._own.spans(data))
        spend, size = self.allowed.spend, len(data)
        spend(size)
        # One pass over the text for all hints: most texts have none.
        for number in sorted(self._hints.Match(data) or ()) if self._hints else ():
            spend(size)
            found += _found(self._patterns[number], data, spend)
        return without_overlaps(_outside_uuids(found, data) if found else found)


def _all_hints(shapes: Sequence[Shape]) -> Any:
    """The hints of `shapes` as a set that tells which of them a text holds; None for no shapes."""
    if not shapes:
        return None
    hints = re2.Set.SearchSet(options())
    for shape in shapes:
        hints.Add(shape.hint.encode())
    hints.Compile()
    return hints


_BACKSLASH: Final = ord("\\")
_ESCAPED: Final = b"bfnrt"
_FULL_STOP: Final = ord(".")


_MATCHES_A_LOOK: Final = 1024
_BYTES_A_MATCH: Final = 256


# After so many candidates the rest of a text is asked at once, where that can be.
_MANY: Final = 16


def _found(pattern: Pattern, data: bytes, spend: Callable[[int], None]) -> Iterator[Span]:
    shape = pattern.shape
    matches = 0
    kind, check, narrow, ends = shape.kind, shape.check, shape.narrow, shape.ends
    most = _MANY if shape.rows else _MATCHES_A_LOOK
    for begin, end in pattern.find(data):
        matches += 1
        if matches == most:
            if shape.rows is not None:
                yield from _ending(shape, data, 0, within_reason(data, shape.rows, max(begin - 1, 0)))
                return
            matches = 0
            spend(_MATCHES_A_LOOK * _BYTES_A_MATCH)
        start = begin
        if start and data[start - 1] == _BACKSLASH and data[start] in _ESCAPED:
            start += 1  # of an escape, which is no part of what follows: `\\n@decorator.of.python`
        if shape.is_alone and follows(data, start):
            if shape.rows is None:
                continue
            start -= 1  # groups behind the first may count
        value = data[start:end]
        if shape.rows is not None:
            yield from _ending(shape, data, start, within_reason(value, shape.rows))
        elif narrow is not None:
            yield from _ending(shape, data, start, narrow(value))
        elif (not ends or _may_end(data, end, ends)) and (check is None or check(value)):
            yield Span(start, end, kind, value)


def _ending(shape: Shape, data: bytes, start: int, spans: Iterator[tuple[int, int]]) -> Iterator[Span]:
    """Those of `spans`, offsets from `start` on, behind which nothing rules them out."""
    kind, ends = shape.kind, shape.ends
    for first, last in spans:
        if not ends or _may_end(data, start + last, ends):
            yield Span(start + first, start + last, kind, data[start + first : start + last])


# RFC 9562, section 4: an id, whatever number its digits look like.
_UUID: Final = re.compile(
    rb"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])"
)
_LIKE_UUID: Final = re2.compile(rb"-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}", options())


def _outside_uuids(found: list[Span], data: bytes) -> list[Span]:
    """Those of `found` that are no part of a UUID: calls are looked up by them."""
    if _LIKE_UUID.search(data) is None:
        return found
    ids = [match.span() for match in _UUID.finditer(data)]
    starts = [start for start, _ in ids]

    def is_within(span: Span) -> bool:
        number = bisect_right(starts, span.start) - 1
        return number >= 0 and span.end <= ids[number][1]

    return [span for span in found if not is_within(span)]


def _may_end(data: bytes, end: int, ends: bytes) -> bool:
    """Whether what ends before `end` is not part of something longer, such as 1.2.3.4.5."""
    if end >= len(data):
        return True
    following = data[end]
    return following not in ends and not (following == _FULL_STOP and data[end + 1 : end + 2].isdigit())
