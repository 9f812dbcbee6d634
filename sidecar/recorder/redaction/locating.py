"""Locating: where a shape's pattern matches in a text.

Pure. RE2 finds matches: its time is linear in the text whatever the text is. It is asked for whole matches
first, which its automaton tells by itself, and for the part that counts only of these, as groups cost many
times more. Where matches stand close to each other each costs less with Python's engine, which is used there
for patterns whose matches are short: what it tries again is bounded by that.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import re2

from sidecar.recorder.redaction.shapes import Shape

_GROUP: Final = "(?P<it>"
# In front of the group nothing, or the byte before; and behind it nothing.
_NOTHING_AHEAD: Final = re.compile(r"(?:\(\?s\)|\\b)?\(\?P<it>")
_BYTE_AHEAD: Final = re.compile(r"\(\?:\^\|\[\^[^\]]*\]\)\(\?P<it>")
_TOKEN: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[()]|[^()\[\\]+", re.DOTALL)
# So many are asked of RE2. Where there is one in so many bytes Python's engine is asked, for a window.
_FEW: Final = 32
_DENSE_BYTES: Final = 48
_WINDOW: Final = 4 << 10
# Longer than a match of a short pattern.
_SHORT: Final = 256
# In so many bytes of a match it mostly shows where the group begins.
_BEGINNING: Final = 256


_MEMORY: Final = 64 << 20


def options(memory: int = _MEMORY) -> Any:
    """How patterns are read: RE2's options; `memory` bytes for each pattern's automaton."""
    read = re2.Options()
    read.encoding = re2.Options.Encoding.LATIN1  # a byte is a character
    read.max_mem = memory
    read.log_errors = False
    return read


class Pattern:
    """One shape's pattern, ready to be looked for."""

    __slots__ = (
        "_anchors",
        "_byte_ahead",
        "_group",
        "_is_last",
        "_nothing_ahead",
        "_quick",
        "_whole",
        "shape",
    )

    def __init__(self, shape: Shape, memory: int = _MEMORY) -> None:
        """Raises re2.error for a pattern that can't be read."""
        whole = shape.pattern.replace(_GROUP, "(?:", 1).encode()
        self.shape = shape
        # What the package wraps: its wrapper makes objects that cost more than to find.
        self._whole = re2.compile(whole, options(memory))._regexp
        self._group = re2.compile(shape.pattern.encode(), options(memory))._regexp
        self._anchors = self._whole.Anchor
        self._quick = re.compile(whole) if shape.is_short else None
        self._is_last = _ends_with_group(shape.pattern)
        self._nothing_ahead = self._is_last and _NOTHING_AHEAD.match(shape.pattern) is not None
        self._byte_ahead = self._is_last and _BYTE_AHEAD.match(shape.pattern) is not None

    def find(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Where the group of each match begins and ends, in order."""
        if self._nothing_ahead:
            yield from self.matches(data)
        elif self._byte_ahead:
            for start, end in self.matches(data):
                yield (start + 1, end) if start else self._grouped(data, start, end)
        else:
            for start, end in self.matches(data):
                yield self._grouped(data, start, end)

    def matches(self, data: bytes, place: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
        """Where matches begin and end that are between `place` and `end`, in order."""
        match, anywhere = self._whole.Match, self._anchors.UNANCHORED
        size = len(data) if end is None else min(end, len(data))
        while True:
            first = place
            for _ in range(_FEW):
                found = match(anywhere, data, place, size)[0]
                if found[0] < 0:
                    return
                yield found
                place = max(found[1], found[0] + 1)
                if place > size:
                    return
            if self._quick is not None and place - first < _FEW * _DENSE_BYTES:
                window = min(place + _WINDOW, size)
                for close in self._quick.finditer(data, place, window):
                    if close.end() > window - _SHORT:  # it may go on behind the window
                        break
                    yield close.span()
                    place = close.end()

    def _grouped(self, data: bytes, start: int, end: int) -> tuple[int, int]:
        """Where the group of the match from `start` to `end` is."""
        match = self._group.Match
        if self._is_last and end - start > _BEGINNING:
            first, _ = match(self._anchors.ANCHOR_START, data, start, start + _BEGINNING)[1]
            if first >= 0:
                return first, end
        found: tuple[int, int] = match(self._anchors.ANCHOR_BOTH, data, start, end)[1]
        return found


def _ends_with_group(pattern: str) -> bool:
    """Whether what is meant is the last of `pattern`, so that it ends where a match does."""
    depth = 0
    for token in _TOKEN.finditer(pattern, pattern.index(_GROUP)):
        depth += (token[0] == "(") - (token[0] == ")")
        if depth == 0:
            return token.end() == len(pattern)
    return False
