"""Aadhaar: India's numbers, twelve digits in groups of four.

Pure. The check digit is Verhoeff's (1969): digits stand for elements of the dihedral group of order 10, by
their place from the end, and their product is the neutral one. Of a table of numbers that is asked of all
windows at once, in lanes (`digit_lanes`). An element is a turn, 0 to 4, and may mirror; behind an odd
number of mirrors turns go backwards. So the product is neutral where the mirrors are even in number and the
turns, some of them backwards, add up to a multiple of five.
"""

import re
from collections.abc import Iterator
from itertools import compress
from operator import methodcaller
from typing import Final

from sidecar.recorder.redaction.checks import PLAIN
from sidecar.recorder.redaction.digit_lanes import (
    AFTER_SEPARATOR,
    BEGIN,
    END,
    NO_DIGIT,
    bit,
    lanes,
    less,
    windows,
)


def _times(a: int, b: int) -> int:
    """In the dihedral group of order 10: turns below 5, mirrored ones from 5 on."""
    turned = (a + b) % 5 if a < 5 else (a - b) % 5
    return turned if (a < 5) == (b < 5) else turned + 5


# The group's products, and what a digit stands for by its place from the end.
_PRODUCTS: Final = tuple(bytes(_times(a, b) for b in range(10)) for a in range(10))
_PERMUTED: Final = [bytes(range(10))]
for _ in range(7):
    _PERMUTED.append(bytes(_PERMUTED[-1][each] for each in (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)))

_LENGTH: Final = 12
_GROUP: Final = 4
# With what numbers begin.
_BEGINS: Final = bytes(each >> BEGIN & 1 and each & 0x0F >= 2 for each in range(256))

# Of a digit's element: its turn, the same backwards, and whether it mirrors.
_TURN: Final = 0x07
_BACKWARDS: Final = 3
_MIRRORS: Final = 6


def _element(element: int) -> int:
    turn = element % 5
    return turn | -turn % 5 << _BACKWARDS | element // 5 << _MIRRORS


# By the place from the end, and by what is marked.
_ELEMENTS: Final = [
    bytes(_element(place[each & 0x0F]) if each & 0x0F < 10 else 0 for each in range(256))
    for place in _PERMUTED
]
_RIGHT: Final = bytes(each % 5 == 0 for each in range(255)) + b"\0"
_NONE: Final = 255
_find_one: Final = re.compile(b"\1").finditer


def is_aadhaar(digits: bytes) -> bool:
    """India's number: Verhoeff's check digit, and no palindrome (UIDAI)."""
    product = 0
    for place, digit in enumerate(reversed(digits.translate(PLAIN))):
        product = _PRODUCTS[product][_PERMUTED[place & 7][digit]]
    return product == 0 and digits != digits[::-1]


def aadhaar_spans(text: bytes, place: int = 0) -> Iterator[tuple[int, int]]:
    """Where such numbers are in `text` from `place` on; of a row of groups each third is asked."""
    for start, end in windows(text, _with_right_check_digit, place):
        digits = text[start:end].translate(None, b" -")
        if digits != digits[::-1]:
            yield start, end


def _with_right_check_digit(marked: bytes) -> Iterator[tuple[int, int]]:
    firsts = _each_third(marked)
    if not firsts:
        return
    begins = firsts.to_bytes(len(marked), "little")
    right = _are_neutral(_digits_from(marked, firsts))
    if b"\1" in right:
        for first in compress(map(methodcaller("start"), _find_one(begins)), right):
            yield first, first + _LENGTH


def _digits_from(marked: bytes, firsts: int) -> bytes:
    """The twelve digits from each of `firsts` on, as they are marked."""
    two = firsts | firsts << 8
    four = two | two << 16
    twelve = four | four << 32 | four << 64
    # 255 is no digit's mark, as none both begins and ends a group of three or more.
    others = (lanes(b"\1" * len(marked)) ^ twelve) * _NONE
    size = len(marked) + _LENGTH
    return (lanes(marked) | others).to_bytes(size, "little").translate(None, bytes([_NONE]))


def _each_third(marked: bytes) -> int:
    """Lanes of 1 where three groups of four begin that are the first of their row, or the next after such."""
    firsts, afters, lasts = bit(marked, BEGIN), bit(marked, AFTER_SEPARATOR), bit(marked, END)
    groups = less(firsts & lasts >> 8 * (_GROUP - 1), _inner(firsts | bit(marked, NO_DIGIT)))
    threes = groups & groups >> 8 * _GROUP & groups >> 16 * _GROUP
    threes &= afters >> 8 * _GROUP & afters >> 16 * _GROUP
    reached = less(threes, afters) | threes & -threes
    steps, far = threes & afters, 8 * _LENGTH
    while steps:
        reached |= reached << far & steps
        steps &= steps << far
        far *= 2
    return reached & lanes(marked.translate(_BEGINS))


def _inner(breaks: int) -> int:
    """Where one of the next three lanes begins something else."""
    return breaks >> 8 | breaks >> 16 | breaks >> 24


def _are_neutral(digits: bytes) -> bytes:
    """For each twelve of `digits` 1 where the product of their elements is neutral, else 0."""
    size = len(digits) // _LENGTH
    ones = lanes(b"\1" * size)
    turns = mirrored = 0
    for place in range(_LENGTH):
        element = lanes(digits[_LENGTH - 1 - place :: _LENGTH].translate(_ELEMENTS[place & 7]))
        backwards = mirrored * _TURN
        turns += (element ^ (element ^ element >> _BACKWARDS) & backwards) & ones * _TURN
        mirrored ^= element >> _MIRRORS & ones
    return (turns | mirrored * _NONE).to_bytes(size, "little").translate(_RIGHT)
