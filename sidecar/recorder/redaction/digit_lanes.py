"""Digit lanes: the digits of a text as long integers, a lane for each, so that all are looked at at once.

Pure. In a table of numbers each group of digits may begin a value, and a megabyte holds a hundred thousand.
So what a check asks of one number it asks of all windows of a text: a long integer is a row of lanes, a byte
each, and to add two such integers adds lane by lane, at the speed of C. What a lane holds stays below 256.

    text     4   1   1   1   ' '  1   1  ...   a lane for each byte: what it is, and what stands beside it
    marked   4B  1   1   1E       1B  1  ...   one for each digit, and for each byte that is none:

    bits 0-3  the digit's value
    bit 4     no digit of a group of at least three
    bit 5     a single separator, which is left out, stands in front
    bit 6     the first of its group, and alone: no fraction, nor part of a word
    bit 7     the last of its group, and alone
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from sidecar.recorder.redaction.shapes import ALNUM, ENDED

NO_DIGIT: Final = 4
AFTER_SEPARATOR: Final = 5
BEGIN: Final = 6
END: Final = 7
# Back to the digits themselves.
UNMARKED: Final = bytes(0x30 | each & 0x0F for each in range(256))

# So much is looked at at once, which stays in the processor's caches. A multiple of three groups of four with
# their separators: a row of such goes on in step.
_CHUNK: Final = 15 << 11
# What stands before and behind a chunk's values.
_BEFORE: Final = 4
_BEHIND: Final = 40
_SEPARATOR: Final = bytes([1 << NO_DIGIT | 1 << AFTER_SEPARATOR])


def _which(members: bytes) -> bytes:
    """A table for translate: 1 for each of `members`, 0 for all others."""
    return bytes(each in members for each in range(256))


_DIGITS: Final = _which(b"0123456789")
_SEPARATORS: Final = _which(b" -")
_LETTERS: Final = _which(ALNUM)
_FULL_STOPS: Final = _which(b".")
_ENDED: Final = _which(ENDED)
_VALUES: Final = bytes(each - 0x30 if 0x30 <= each <= 0x39 else 0 for each in range(256))
_AFTERS: Final = bytes(each >> AFTER_SEPARATOR & 1 for each in range(256))


def lanes(data: bytes) -> int:
    """A lane for each byte, the first the lowest."""
    return int.from_bytes(data, "little")


def less(these: int, those: int) -> int:
    """Bits of `these` that are not in `those`. Python's `~` would make a negative number, which is slow."""
    return these ^ these & those


def bit(marked: bytes, number: int) -> int:
    """Lanes of 1 where that bit is set in `marked`."""
    return lanes(marked.translate(_BITS[number]))


_BITS: Final = [bytes(each >> number & 1 for each in range(256)) for number in range(8)]


def windows(
    text: bytes, find: Callable[[bytes], Iterator[tuple[int, int]]], start: int = 0
) -> Iterator[tuple[int, int]]:
    """What `find` tells of marked lanes, by digits, as offsets in `text`; in order, from `start` on."""
    for place in range(start, len(text), _CHUNK):
        begin = max(place - _BEFORE, 0)
        for first, end in _windows_of(text[begin : place + _CHUNK + _BEHIND], find):
            if place <= begin + first < place + _CHUNK:
                yield begin + first, begin + end


def _windows_of(text: bytes, find: Callable[[bytes], Iterator[tuple[int, int]]]) -> Iterator[tuple[int, int]]:
    marked = _marked(text)
    afters = marked.translate(_AFTERS)
    separators = counted = 0
    for first, end in sorted(find(marked)):
        separators += afters.count(b"\1", counted, first + 1)
        counted = first + 1
        yield first + separators, end + separators + afters.count(b"\1", first + 1, end)


def _marked(text: bytes) -> bytes:
    """`text` in lanes as above, without single separators between groups."""
    size = len(text)
    digits = lanes(text.translate(_DIGITS))
    thirds = digits & digits << 8 & digits << 16
    grouped = thirds | thirds >> 8 | thirds >> 16
    separators = lanes(text.translate(_SEPARATORS)) & grouped << 8 & grouped >> 8
    stops, letters = lanes(text.translate(_FULL_STOPS)), lanes(text.translate(_LETTERS))
    ended = lanes(text.translate(_ENDED))
    firsts = less(grouped, (letters | less(stops, ended << 8)) << 8)
    lasts = less(grouped, letters >> 8 | (stops & digits >> 8) >> 8)
    marked = lanes(text.translate(_VALUES)) + (firsts << BEGIN) + (lasts << END)
    marked += (lanes(b"\1" * size) ^ grouped) << NO_DIGIT
    marked += (separators + (separators << 8)) << AFTER_SEPARATOR
    return marked.to_bytes(size + 1, "little").translate(None, _SEPARATOR)


# A text may hold so many values exactly. In what is left of it a row longer than this is a table, of which
# the groups that look like a value do so by chance: it is one value, if there is one in it.
_MOST_EXACT: Final = 512
_LONG_ROW: Final = 1 << 10
_ROW: Final = re.compile(rb"[0-9]{3,}+(?:[ -][0-9]{3,}+)*+")


def within_reason(
    text: bytes, find: Callable[[bytes, int], Iterator[tuple[int, int]]], place: int = 0
) -> Iterator[tuple[int, int]]:
    """What `find` tells of `text` from `place` on, of long rows the whole where that is too much."""
    left = _MOST_EXACT
    while place < len(text):
        first, place = place, len(text)
        taken = 0
        for start, end in find(text, first):
            if start < taken:
                continue
            row = _ROW.match(text, start) if left <= 0 else None
            left -= 1
            if row is None or row.end() - start <= _LONG_ROW:
                yield start, end
                continue
            taken = row.end()
            yield start, taken
            if taken - start > _CHUNK:
                place = taken
                break
