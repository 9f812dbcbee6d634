"""Gaps on disk: merged with neighbours of their reason, cut where storage knows them."""

from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from sidecar.spool import Gap
from sidecar.spool.gap_table import GapTable

H3, H5, H9 = (bytes([number]) * 32 for number in (3, 5, 9))


@pytest.fixture
def table(tmp_path: Path) -> Iterator[GapTable]:
    with lmdb.open(str(tmp_path), map_size=1 << 20) as env, env.begin(write=True) as txn:
        yield GapTable(txn.cursor())


def test_neighbours_merge(table: GapTable) -> None:
    """Gaps that touch and have one reason become one, with the hash of the last entry, in any order."""
    table.declare(Gap(1, 3, H3, "evicted"))
    table.declare(Gap(6, 9, H9, "evicted"))
    table.declare(Gap(4, 5, H5, "evicted"))
    assert list(table.within(0, 100)) == [Gap(1, 9, H9, "evicted")]


def test_reasons_stay_apart(table: GapTable) -> None:
    """Gaps of different reasons touch and stay two."""
    gaps = [Gap(1, 3, H3, "evicted"), Gap(4, 5, H5, "corrupt")]
    for gap in gaps:
        table.declare(gap)
    assert list(table.within(0, 100)) == gaps


@pytest.mark.parametrize(
    ("told", "left"),
    [
        ((1, 9), []),
        ((0, 100), []),
        ((1, 4), [Gap(5, 9, H9, "evicted")]),
        ((5, 9), [Gap(1, 4, b"", "evicted")]),
        ((4, 6), [Gap(1, 3, b"", "evicted"), Gap(7, 9, H9, "evicted")]),
        ((10, 20), [Gap(1, 9, H9, "evicted")]),
    ],
)
def test_trim(table: GapTable, told: tuple[int, int], left: list[Gap]) -> None:
    """What storage knows is forgotten; a hash stays with the entry whose it is."""
    table.declare(Gap(1, 9, H9, "evicted"))
    table.trim(*told)
    assert list(table.within(0, 100)) == left


def test_at_or_after(table: GapTable) -> None:
    """The gap that holds a sequence is found, else the next."""
    gap = Gap(5, 9, H9, "evicted")
    table.declare(gap)
    assert [table.at_or_after(sequence) for sequence in (1, 5, 9, 10)] == [gap, gap, gap, None]
