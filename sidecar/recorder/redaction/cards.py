"""Cards: numbers of payment cards among digits, which single spaces or dashes may group.

Pure. Luhn's sum is computed for all windows of a text at once, in lanes (`digit_lanes`): lane e holds that
over the window of so many digits that ends with digit e.
"""

import re
from collections.abc import Iterator
from typing import Final

from sidecar.recorder.redaction.checks import DOUBLED, PLAIN, is_card_number, is_issued
from sidecar.recorder.redaction.digit_lanes import BEGIN, END, NO_DIGIT, UNMARKED, bit, lanes, less, windows

_SHORTEST: Final = 13
_LONGEST: Final = 19
_SEPARATORS: Final = b" -"
_ONCE: Final = UNMARKED.translate(PLAIN)
_TWICE: Final = UNMARKED.translate(DOUBLED)
# With what the numbers of some issuer begin.
_BEGINS: Final = bytes(each >> BEGIN & 1 and 2 <= each & 0x0F <= 6 for each in range(256))
# Sums that say that the check digit is right. What is no window has the last value.
_RIGHT: Final = bytes(each % 10 == 0 for each in range(255)) + b"\0"
_NO_WINDOW: Final = 255
_find_right: Final = re.compile(b"\1").finditer


def card_spans(text: bytes, place: int = 0) -> Iterator[tuple[int, int]]:
    """Where card numbers are in `text` from `place` on: each begins and ends with a group of at least three
    digits, and stands alone, a fraction of a number being none.

    Where a longer and a shorter one begin alike both are told.
    """
    if len(text) <= _LONGEST and text.isdigit() and not place:  # as most are
        if is_card_number(text):
            yield 0, len(text)
        return
    first_free, next_free, current = 0, 0, -1
    for start, end in windows(text, _with_right_check_digit, place):
        if start != current:
            current, first_free = start, next_free
        if start >= first_free and is_issued(text[start:end].translate(None, _SEPARATORS)):
            next_free = end
            yield start, end


def _with_right_check_digit(marked: bytes) -> Iterator[tuple[int, int]]:
    """Which digits, first and end, make whole groups of a card's length with a right check digit."""
    size = len(marked)
    begins, ends = lanes(marked.translate(_BEGINS)), bit(marked, END)
    if not begins:
        return
    ones = lanes(b"\1" * size)
    gaps = bit(marked, NO_DIGIT)
    for length, sums in enumerate(_all_sums(marked), _SHORTEST):
        whole = begins << 8 * (length - 1) & ends
        if whole and gaps:
            whole = less(whole, _within(gaps, length))
        if whole:
            known = sums | (whole ^ ones) * _NO_WINDOW
            right = known.to_bytes(size + _LONGEST, "little").translate(_RIGHT)
            for found in _find_right(right, 0, size):
                yield found.end() - length, found.end()


def _within(gaps: int, length: int) -> int:
    """Whether one of `gaps` is in the window of that length that ends with the lane."""
    four = gaps | gaps << 8
    four |= four << 16
    eight = four | four << 32
    return eight | eight << 40 | eight << 8 * (length - 8)


def _all_sums(marked: bytes) -> Iterator[int]:
    """Luhn's sums over windows of 13 to 19 digits, in lanes."""
    one = lanes(marked.translate(_ONCE))
    two = one + (lanes(marked.translate(_TWICE)) << 8)
    four = two + (two << 16)
    eight = four + (four << 32)
    twelve = eight + (four << 64)
    yield twelve + (one << 96)
    fourteen = twelve + (two << 96)
    yield fourteen
    yield fourteen + (one << 112)
    sixteen = eight + (eight << 64)
    yield sixteen
    yield sixteen + (one << 128)
    eighteen = sixteen + (two << 128)
    yield eighteen
    yield eighteen + (one << 144)
