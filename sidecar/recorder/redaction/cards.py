"""Cards: numbers of payment cards within runs of digits, which single spaces or dashes may group.

Pure. A table of numbers is a run too, a megabyte long: there each group may begin a card. So check digits
are computed for all windows at once: a long integer is a row of lanes, a byte each, one for each digit, and
to add two such integers adds lane by lane, at the speed of C. What a lane holds stays below 256.

    digit    4   1   1   1   ...   lane e: Luhn's sum over the window of so many digits that ends with digit e
"""

import re
from collections.abc import Iterator
from typing import Final

from sidecar.recorder.redaction.checks import DOUBLED, PLAIN, is_card_number

_SHORTEST: Final = 13
_LONGEST: Final = 19
# Some two hundred groups.
_LONG_ROW: Final = 1 << 10
# Groups side by side that are long enough for a card's.
_STRETCH: Final = re.compile(rb"(?<![0-9])(?:[0-9]{3,}+(?:[ -][0-9]{3,}+)++|[0-9]{13,19}+)(?![0-9])")
_SEPARATORS: Final = b" -"
_SEPARATED: Final = bytes(each in _SEPARATORS for each in range(256))
# Added to the first and to the last digit of a group.
_FIRST: Final = 0x40
_LAST: Final = 0x80
_UNMARKED: Final = bytes(0x30 | each & 0x0F for each in range(256))
_ONCE: Final = _UNMARKED.translate(PLAIN)
_TWICE: Final = _UNMARKED.translate(DOUBLED)
_BEGINS: Final = bytes(bool(each & _FIRST) for each in range(256))
# With what the numbers of some issuer begin.
_BEGINS_CARD: Final = bytes(each ^ _FIRST in b"23456" for each in range(256))
_ENDS: Final = bytes(bool(each & _LAST) for each in range(256))
# Sums that say that the check digit is right. What is no window has the last value.
_RIGHT: Final = bytes(each % 10 == 0 for each in range(255)) + b"\0"
_NO_WINDOW: Final = 255
_find_right: Final = re.compile(b"\1").finditer


def card_spans(candidate: bytes) -> Iterator[tuple[int, int]]:
    """Card numbers within digits that single spaces or dashes group: each begins and ends with a group.

    Where a longer and a shorter one begin alike both are told: what follows the longer may rule it out. A
    long row is a table rather, where one of ten windows is right by chance: all of it is told, if one is.
    """
    if candidate.isdigit() and len(candidate) <= _LONGEST:  # as most are
        if is_card_number(candidate):
            yield 0, len(candidate)
        return
    for stretch in _STRETCH.finditer(candidate):
        first, last = stretch.span()
        if last - first > _LONG_ROW:
            if next(_of_stretch(stretch[0]), None) is not None:
                yield first, last
            continue
        for start, end in _of_stretch(stretch[0]):
            yield first + start, first + end


def _of_stretch(stretch: bytes) -> Iterator[tuple[int, int]]:
    if stretch.isdigit():
        if is_card_number(stretch):
            yield 0, len(stretch)
        return
    marked = _marked(stretch)
    digits, begins = marked.translate(_UNMARKED), marked.translate(_BEGINS)
    first_free, next_free, current = 0, 0, -1
    separators, counted = 0, 1
    for first, end in sorted(_with_right_check_digit(marked)):
        if first != current:
            current, first_free = first, next_free
        if first >= first_free and is_card_number(digits[first:end]):
            next_free = end
            # One stands before each group but the first.
            separators += begins.count(b"\1", counted, first + 1)
            counted = max(counted, first + 1)
            yield first + separators, end + separators + begins.count(b"\1", first + 1, end)


def _marked(stretch: bytes) -> bytes:
    """Its digits, the first and the last of each group marked."""
    between = _lanes(stretch.translate(_SEPARATED))
    first, last = between << 8 | 1, between >> 8 | 1 << 8 * (len(stretch) - 1)
    marked = _lanes(stretch) + first * _FIRST + last * _LAST
    return marked.to_bytes(len(stretch), "little").translate(None, _SEPARATORS)


def _lanes(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _with_right_check_digit(marked: bytes) -> Iterator[tuple[int, int]]:
    """Which digits, first and end, make whole groups of a card's length with a right check digit."""
    size = len(marked)
    begins, ends, ones = (
        _lanes(marked.translate(_BEGINS_CARD)),
        _lanes(marked.translate(_ENDS)),
        _lanes(b"\1" * size),
    )
    if not begins:
        return
    for length, sums in enumerate(_all_sums(marked), _SHORTEST):
        windows = begins << 8 * (length - 1) & ends
        if windows:
            known = sums | (windows ^ ones) * _NO_WINDOW
            for right in _find_right(known.to_bytes(size + length, "little").translate(_RIGHT), 0, size):
                yield right.end() - length, right.end()


def _all_sums(marked: bytes) -> Iterator[int]:
    """Luhn's sums over windows of 13 to 19 digits, in lanes."""
    one = _lanes(marked.translate(_ONCE))
    two = one + (_lanes(marked.translate(_TWICE)) << 8)
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
