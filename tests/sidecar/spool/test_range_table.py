"""Sets of sequences on disk, against plain sets."""

from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.spool.errors import UnsoundError
from sidecar.spool.range_table import RangeTable
from sidecar.spool.ranges import tidy

numbers = st.integers(0, 40)
steps = st.lists(st.tuples(st.booleans(), numbers, numbers), max_size=30)


@settings(max_examples=60)
@given(steps, numbers, numbers)
def test_against_a_set(
    tmp_path_factory: object, steps: list[tuple[bool, int, int]], low: int, high: int
) -> None:
    """Whatever is added and removed, the table holds what a set would, as few ranges as can be."""
    held: set[int] = set()
    directory = Path(tmp_path_factory.mktemp("table"))  # type: ignore[attr-defined]
    with lmdb.open(str(directory), map_size=1 << 20) as env, env.begin(write=True) as txn:
        table = RangeTable(txn.cursor())
        for adds, one, other in steps:
            first, last = min(one, other), max(one, other)
            (table.add if adds else table.remove)(first, last)
            held = held | set(range(first, last + 1)) if adds else held - set(range(first, last + 1))
        expected = tidy((number, number) for number in held)
        assert list(table.within(0, 100)) == expected
        low, high = min(low, high), max(low, high)
        assert list(table.within(low, high)) == [
            each for each in expected if each[0] <= high and each[1] >= low
        ]
        assert table.at_or_after(low) == next((each for each in expected if each[1] >= low), None)


def test_damaged_range(tmp_path: Path) -> None:
    """A range that ends before it begins is told, where walking on from its end would never end."""
    with lmdb.open(str(tmp_path), map_size=1 << 20) as env, env.begin(write=True) as txn:
        table = RangeTable(txn.cursor())
        table.add(5, 9)
        txn.put((20).to_bytes(8), (10).to_bytes(8))
        with pytest.raises(UnsoundError, match="ends before it begins"):
            list(table.within(0, 100))
        txn.put((20).to_bytes(8), b"short")
        with pytest.raises(UnsoundError, match="cut short"):
            list(table.within(0, 100))
