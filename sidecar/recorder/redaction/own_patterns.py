"""Own patterns: looks for what a site's own rules describe, apart from what is built in.

Pure but for the clock of the time allowed. RE2's time is linear, yet a pattern of a site may cost a thousand
times what a built-in one does for each byte. So these have a memory of their own, can't keep what is built in
from being found, and are asked for a window of the text at a time, with a look at the clock between two.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import re2

from sidecar.recorder.redaction.locating import Pattern, options
from sidecar.recorder.redaction.shapes import Shape
from sidecar.recorder.redaction.spans import Span
from sidecar.recorder.redaction.time_allowed import TimeAllowed

# Of each pattern's automaton.
_MEMORY: Final = 4 << 20
# Texts up to that size are asked for all rules at once.
_SMALL: Final = 4 << 10
# A match begins in its window, and ends at most so far behind it: no longer values are found.
_WINDOW: Final = 32 << 10
_BEHIND: Final = 8 << 10
# What a byte may cost beside one of the built-in patterns: asked of one rule, and of all at once.
_WEIGHT: Final = 8
_WEIGHT_OF_ALL: Final = 64


class OwnPatterns:
    """Finds what the shapes of own rules match."""

    def __init__(self, shapes: Sequence[Shape], allowed: TimeAllowed) -> None:
        """Raises re2.error for a pattern that can't be read."""
        self._patterns = [Pattern(shape, _MEMORY) for shape in shapes]
        self._all = _all_of(shapes)
        self._allowed = allowed

    def may_hold(self, data: bytes) -> bool:
        """Whether anything is found in `data`. Raises OverTimeError."""
        return next(self.spans(data), None) is not None

    def spans(self, data: bytes) -> Iterator[Span]:
        """What was found, rule by rule. Raises OverTimeError."""
        for number in self._candidates(data):
            pattern = self._patterns[number]
            place = 0
            while place < len(data):
                window = place + _WINDOW
                self._allowed.spend(min(len(data) - place, _WINDOW) * _WEIGHT)
                for start, end in pattern.matches(data, place, window + _BEHIND):
                    if start >= window:
                        break
                    yield Span(start, end, pattern.shape.kind, data[start:end])
                    place = max(end, start + 1)
                place = max(place, window)

    def _candidates(self, data: bytes) -> Sequence[int]:
        if not self._patterns:
            return ()
        if self._all is None or len(data) > _SMALL:
            return range(len(self._patterns))
        self._allowed.spend(len(data) * _WEIGHT_OF_ALL)
        return sorted(self._all.Match(data) or ())


def _all_of(shapes: Sequence[Shape]) -> Any:
    """All patterns in one automaton; None where that is too large."""
    if not shapes:
        return None
    together = re2.Set.SearchSet(options())
    for shape in shapes:
        together.Add(shape.hint.encode())
    try:
        together.Compile()
    except re2.error:
        return None
    return together
