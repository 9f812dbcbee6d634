"""Cards: numbers of payment cards within runs of digits, which single spaces or dashes may group.

Pure. A table of numbers is a run too, a megabyte long: there each group may begin a card. So check digits are
not computed for each start anew, but as differences of sums over all groups, mostly by C.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

from sidecar.recorder.redaction.checks import DOUBLED, PLAIN, is_card_number

_SHORTEST: Final = 13
_LONGEST: Final = 19
_SPACE: Final = bytes.maketrans(b"-", b" ")
_REMEMBERED_DIGITS: Final = 4
# Of a group: what it adds to Luhn's sum if its last digit counts once, and if it counts doubled.
_Sums = tuple[int, int]


class _GroupSums(dict[bytes, _Sums]):
    def __missing__(self, group: bytes) -> _Sums:
        last, other = group[-1::-2], group[-2::-2]
        once = sum(last.translate(PLAIN)) + sum(other.translate(DOUBLED))
        doubled = sum(last.translate(DOUBLED)) + sum(other.translate(PLAIN))
        if len(group) <= _REMEMBERED_DIGITS:
            self[group] = once, doubled
        return once, doubled


_SUMS: Final = _GroupSums()


# Groups side by side that are long enough for a card's.
_STRETCH: Final = re.compile(rb"(?<![0-9])(?:[0-9]{3,}+(?:[ -][0-9]{3,}+)++|[0-9]{13,19}+)(?![0-9])")


def card_spans(candidate: bytes) -> Iterator[tuple[int, int]]:
    """Card numbers within digits that single spaces or dashes group: each begins and ends with a group.

    Where a longer and a shorter one begin alike both are told: what follows the longer may rule it out.
    """
    for stretch in _STRETCH.finditer(candidate):
        first = stretch.start()
        for start, end in _of_groups(stretch[0].translate(_SPACE).split()):
            yield first + start, first + end


def _of_groups(groups: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    if len(groups) == 1:
        if is_card_number(groups[0]):
            yield 0, len(groups[0])
        return
    starts = list(accumulate(map(len, groups), initial=0))
    first_free, next_free, current = 0, 0, -1
    for first, end in _with_right_check_digit(groups, starts):
        if first != current:
            current, first_free = first, next_free
        if first >= first_free and is_card_number(b"".join(groups[first:end])):
            next_free = end
            yield starts[first] + first, starts[end] + end - 1


def _with_right_check_digit(groups: Sequence[bytes], starts: Sequence[int]) -> list[tuple[int, int]]:
    """Which groups, first and end, make a number of a card's length with a right check digit; in order."""
    sizes = set(map(len, groups))
    odd, even = _sums(groups, starts)
    found: list[tuple[int, int]] = []
    most = min(_LONGEST // min(sizes), len(groups))
    for count in range(-(-_SHORTEST // max(sizes)), most + 1):
        windows = zip(starts, starts[count:], odd, odd[count:], even, even[count:], strict=False)
        found += [
            (first, first + count)
            for first, (begin, end, odd_begin, odd_end, even_begin, even_end) in enumerate(windows)
            if _SHORTEST <= end - begin <= _LONGEST
            and not (odd_end - odd_begin if end % 2 else even_end - even_begin) % 10
        ]
    found.sort()
    return found


def _sums(groups: Sequence[bytes], starts: Sequence[int]) -> tuple[list[int], list[int]]:
    """Luhn's sums up to each group, for numbers that end after an odd and after an even count of digits."""
    both = [(sums, end % 2) for sums, end in zip(map(_SUMS.__getitem__, groups), starts[1:], strict=True)]
    odd = accumulate((sums[0] if is_odd else sums[1] for sums, is_odd in both), initial=0)
    even = accumulate((sums[1] if is_odd else sums[0] for sums, is_odd in both), initial=0)
    return list(odd), list(even)
