"""Spans: where something was found in a text."""

from typing import NamedTuple


class Span(NamedTuple):  # and no dataclass: there may be a hundred thousand in a text
    """Where something was found: bytes `start` to `end`."""

    start: int
    end: int
    kind: str
    # The value itself, its encodings undone: for keyed hashes, and for nothing that is kept.
    value: bytes = b""


def without_overlaps(found: list[Span]) -> list[Span]:
    """Of overlapping spans the one that begins first, then the longest; its end grows to cover the others."""
    if len(found) < 2:
        return found
    found.sort(key=lambda span: (span.start, -span.end))
    kept = [found[0]]
    for span in found[1:]:
        last = kept[-1]
        if span.start >= last.end:
            kept.append(span)
        elif span.end > last.end:
            kept[-1] = Span(last.start, span.end, last.kind, last.value)
    return kept
