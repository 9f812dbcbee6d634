"""Text: masks what the scanner finds in a piece of text, also where it is spread over several pieces."""

from collections.abc import Sequence

from sidecar.recorder.redaction.finder import Finder
from sidecar.recorder.redaction.findings import Findings
from sidecar.recorder.redaction.masks import Masks
from sidecar.recorder.redaction.names import words_that_tell
from sidecar.recorder.redaction.spans import Span
from sidecar.recorder.redaction.spread import spans_over


class TextRedaction:
    """Redacts UTF-8 text."""

    def __init__(self, finder: Finder, masks: Masks) -> None:
        self._finder = finder
        self._masks = masks

    def raw(self, data: bytes, where: str, findings: Findings) -> bytes:
        """`data` with what was found masked; the very object where nothing was."""
        spans = self._finder.spans(data)
        if not spans:
            return data
        findings.add_spans(spans, where)
        return self._masked(data, spans)

    def text(self, text: str, where: str, findings: Findings) -> str:
        """The same for a string; what is no valid Unicode (lone surrogates) becomes `?`."""
        data = text.encode("utf-8", "replace")
        redacted = self.raw(data, where, findings)
        return text if redacted is data and b"?" not in data else redacted.decode("utf-8", "replace")

    def member(self, name: str, text: str, where: str, findings: Findings) -> str:
        """The same for the value of a member, field or parameter, whose name may say what it is."""
        words = words_that_tell(name)
        if not words:
            return self.text(text, where, findings)
        data = text.encode("utf-8", "replace")
        ahead = len(words)
        spans = [
            Span(span.start - ahead, span.end - ahead, span.kind, span.value)
            for span in self._finder.spans(words + data)
            if span.start >= ahead
        ]
        findings.add_spans(spans, where)
        if spans:
            data = self._masked(data, spans)
        return data.decode("utf-8", "replace")

    def joined(self, parts: Sequence[str], where: str, findings: Findings) -> list[str]:
        """Redacts text that comes in `parts`: what spans several is masked in the first, and cut out of the
        others. As many parts are returned.
        """
        pieces = [part.encode("utf-8", "replace") for part in parts]
        spans = spans_over(self._finder, pieces)
        findings.add_spans(spans, where)
        if not spans:
            return list(parts)
        redacted = []
        start = first = 0
        for piece in pieces:
            while first < len(spans) and spans[first].end <= start:
                first += 1
            redacted.append(self._part(piece, start, spans, first).decode("utf-8", "replace"))
            start += len(piece)
        return redacted

    def _masked(self, data: bytes, spans: Sequence[Span]) -> bytes:
        out: list[bytes] = []
        copied = 0
        for span, mask in zip(spans, map(self._masks.of, spans), strict=True):
            out += (data[copied : span.start], mask)
            copied = span.end
        out.append(data[copied:])
        return b"".join(out)

    def _part(self, piece: bytes, start: int, spans: Sequence[Span], first: int) -> bytes:
        """`piece`, which begins at `start` of the whole, less what `spans` from the `first` on cover."""
        end = start + len(piece)
        out: list[bytes] = []
        copied = start
        for number in range(first, len(spans)):
            span = spans[number]
            if span.start >= end:
                break
            out.append(piece[copied - start : max(span.start - start, 0)])
            if span.start >= start:
                out.append(self._masks.of(span))
            copied = min(span.end, end)
        out.append(piece[copied - start :])
        return b"".join(out)
