"""Pages of the DuckDB engine over many files, whose times overlap."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infertap.query import Order, Query
from storage.archive import Archive, Interrupt, Position, open_archive

if TYPE_CHECKING:
    from tests.storage.conftest import Making

DAY = 86_400 * 1_000_000_000
NOW = 1_767_225_600 * 1_000_000_000
FILES = 14
ORDERS = [Order("start_time"), Order("start_time", is_descending=False), Order("duration")]


@pytest.fixture
def archive(tmp_path: Path, making: "Making") -> Iterator[Archive]:
    """Fourteen days' files of ten records each; a third came days late, and so lie in a later file."""
    chance = random.Random(3)
    days: list[list[int]] = [[] for _ in range(FILES)]
    for sequence in range(1, 10 * FILES + 1):
        day = (sequence - 1) // 10
        days[min(day + chance.choice([0, 0, chance.randrange(5)]), FILES - 1)].append(sequence)
    made = open_archive(str(tmp_path / "archive"), 256 << 20)
    for day, sequences in enumerate(days):
        entries = [making.entry(n, caller__user="often" if n % 7 else "rare") for n in sequences]
        made.append(entries, NOW + day * DAY)
    yield made
    made.close()


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize(("user", "size"), [("often", 3), ("often", 50), ("rare", 1), ("rare", 50), ("", 9)])
def test_pages_over_files_that_overlap(archive: Archive, order: Order, user: str, size: int) -> None:
    """Every record that is asked for is listed once and in order, in whichever file it lies."""
    found: list[int] = []
    after: Position | None = None
    while True:
        page = archive.page(Query(user=user, order=order), after, size, Interrupt())
        assert len(page.records) == size or page.after is None
        found += [record.sequence for record in page.records]
        if (after := page.after) is None:
            break
    wanted = [n for n in range(1, 10 * FILES + 1) if not user or user == ("often" if n % 7 else "rare")]
    assert found == sorted(wanted, reverse=order.is_descending)
