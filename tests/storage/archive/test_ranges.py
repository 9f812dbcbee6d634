"""Range sets against sets of numbers."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from storage.archive import RangeSet


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 10)), max_size=30))
def test_like_a_set(added: list[tuple[int, int]]) -> None:
    """Whatever is added in whatever order: the same numbers, in ranges that are disjoint and don't touch."""
    ranges = RangeSet()
    numbers: set[int] = set()
    for first, more in added:
        ranges.add(first, first + more)
        numbers |= set(range(first, first + more + 1))
    listed = list(ranges)
    assert {each for first, last in listed for each in range(first, last + 1)} == numbers
    assert all(before[1] + 1 < after[0] for before, after in itertools.pairwise(listed))
    assert {number for number in range(80) if number in ranges} == numbers
    assert list(RangeSet(reversed(listed))) == listed
    for first, last in itertools.combinations_with_replacement(range(1, 72, 3), 2):
        assert ranges.covers(first, last) == (set(range(first, last + 1)) <= numbers)
