"""Arithmetic on ranges, against plain sets."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sidecar.spool.ranges import Range, clip, intersect, subtract, tidy

numbers = st.integers(0, 30)
any_ranges = st.lists(st.tuples(numbers, numbers), max_size=8)


def members(ranges: list[Range]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


def assert_tidy(ranges: list[Range]) -> None:
    assert all(first <= last for first, last in ranges)
    assert all(before[1] + 1 < after[0] for before, after in itertools.pairwise(ranges))


@given(any_ranges)
def test_tidy(ranges: list[Range]) -> None:
    """The same numbers, in ascending ranges of which no two touch."""
    assert_tidy(tidy(ranges))
    assert members(tidy(ranges)) == members(ranges)


@given(any_ranges, any_ranges)
def test_subtract_and_intersect(ranges: list[Range], others: list[Range]) -> None:
    """Differences and intersections are those of the sets."""
    some, more = tidy(ranges), tidy(others)
    for result, expected in (
        (subtract(some, more), members(some) - members(more)),
        (intersect(some, more), members(some) & members(more)),
    ):
        assert_tidy(result)
        assert members(result) == expected


@given(any_ranges, numbers, numbers)
def test_clip(ranges: list[Range], low: int, high: int) -> None:
    """What lies within both bounds stays."""
    assert members(clip(ranges, low, high)) == {each for each in members(ranges) if low <= each <= high}
