"""Spread: finds values in text that comes in pieces, as a language model's answer does.

Pure. Neither the pieces joined nor each piece alone tell enough: an address may be spread over two pieces of
which the second looks like a whole one; a card number may seem to go on in the next piece, and then is none.
So both are asked, and everything that either finds is masked.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from sidecar.recorder.redaction.finder import Finder
from sidecar.recorder.redaction.spans import Span, without_overlaps

# An address that is whole in its piece leaves nothing to hide in the next, which need not belong to it. Of
# the other classes what follows may be the rest of a secret.
_WHOLE: Final = "email"


def spans_over(finder: Finder, pieces: Sequence[bytes]) -> list[Span]:
    """What was found in `pieces`, as offsets in all of them joined; in order, without overlaps."""
    ends = list(accumulate(map(len, pieces)))
    own = [
        Span(end - len(piece) + span.start, end - len(piece) + span.end, span.kind, span.value)
        for piece, end in zip(pieces, ends, strict=True)
        for span in finder.spans(piece)
    ]
    own_ends = [span.end for span in own]
    joined = [_clipped(span, own, own_ends, ends) for span in finder.spans(b"".join(pieces))]
    return without_overlaps(own + [span for span in joined if span is not None])


def _clipped(span: Span, own: list[Span], own_ends: list[int], ends: list[int]) -> Span | None:
    """`span` of the joined text, less what is whole in a piece that ends within it: that has its own mask."""
    number = bisect_right(ends, span.start)
    end = ends[number]
    at = bisect_left(own_ends, end)
    if span.end <= end or at == len(own) or own_ends[at] != end or own[at].start > span.start:
        return span
    rest_is_in_one_piece = span.end <= ends[min(number + 1, len(ends) - 1)]
    touches_another = at + 1 < len(own) and own[at + 1].start < span.end
    if span.kind == _WHOLE and rest_is_in_one_piece and not touches_another:
        return None
    return Span(end, span.end, span.kind, span.value)
