"""Finder: what the scanner finds in a text, and in what the text says once its encodings are undone.

Pure. It promises that encodings within encodings are seen through up to DEPTH, in time linear in the text,
and that every span is where the value stands in the text handed in, however it is written there.
"""

from typing import Final

from sidecar.recorder.redaction.lenses import LENSES
from sidecar.recorder.redaction.scanner import Scanner
from sidecar.recorder.redaction.spans import Span, without_overlaps

DEPTH: Final = 3
_CLEAN_TEXTS: Final = 4096
_CLEAN_BYTES: Final = 256


class Finder:
    """Finds what belongs to the chosen classes, hidden or not."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        # Short texts in which nothing was found: header values, paths and names repeat from call to call.
        self._clean: set[bytes] = set()

    def may_hold(self, data: bytes) -> bool:
        """Whether there is any candidate in `data`."""
        return self._may_hold(data, DEPTH)

    def _may_hold(self, data: bytes, depth: int) -> bool:
        if self._scanner.may_hold(data):
            return True
        views = (lens(data) for lens in LENSES) if depth else ()
        return any(view is not None and self._may_hold(view.data, depth - 1) for view in views)

    def spans(self, data: bytes) -> list[Span]:
        """What was found, in order, without overlaps."""
        if data in self._clean:
            return []
        spans = without_overlaps(self._spans(data, DEPTH))
        if not spans and len(data) <= _CLEAN_BYTES:
            if len(self._clean) >= _CLEAN_TEXTS:
                self._clean.clear()
            self._clean.add(data)
        return spans

    def _spans(self, data: bytes, depth: int) -> list[Span]:
        found = self._scanner.spans(data)
        if depth:
            for lens in LENSES:
                view = lens(data)
                if view is not None:
                    hidden = self._spans(view.data, depth - 1)
                    found += [
                        Span(*view.origin(span.start, span.end), span.kind, span.value) for span in hidden
                    ]
        return found
