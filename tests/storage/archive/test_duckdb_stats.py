"""The two ways in which the DuckDB engine comes to quantiles."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from infertap import v1
from infertap.query import Query, StatsQuery
from storage.archive import Archive, Interrupt, open_archive
from storage.archive import duckdb_stats as room

if TYPE_CHECKING:
    from tests.storage.conftest import Making

NOW = 1_767_225_600 * 1_000_000_000
CALLS = 400
ASKED = StatsQuery(Query(), (v1.GetStatsRequest.Dimension.MODEL,))
FEW = StatsQuery(Query(), (v1.GetStatsRequest.Dimension.MODEL,), most=2)


@pytest.fixture
def archive(tmp_path: Path, making: "Making") -> Iterator[Archive]:
    """Calls of three models, each kept by half, with durations and tokens of all sizes; some have none."""
    chance = random.Random(5)
    entries = [
        making.entry(
            n,
            model__name=f"m{min(n % 7, 2)}",
            sampling__fraction=0.5,
            state=chance.choice([v1.COMPLETED, v1.FAILED, v1.CANCELLED]),
            timing__duration_us=int(chance.lognormvariate(8, 4)) - 5,
            timing__first_response_byte_us=chance.choice([-1, n]),
            **({"model__input_tokens": chance.randrange(300)} if n % 5 else {}),
        )
        for n in range(1, CALLS + 1)
    ]
    made = open_archive(str(tmp_path / "archive"), 256 << 20)
    made.append(entries, NOW)
    yield made
    made.close()


def in_buckets(archive: Archive, asked: StatsQuery, monkeypatch: pytest.MonkeyPatch) -> v1.GetStatsResponse:
    """The answer where no values are held."""
    with monkeypatch.context() as patched:
        patched.setattr(room, "HELD_BYTES", 1 << 40)
        return archive.stats(asked, Interrupt())


@pytest.mark.parametrize("asked", [ASKED, FEW, StatsQuery(Query())])
def test_both_ways_lead_to_the_same(
    archive: Archive, asked: StatsQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts, sums and largest values are alike; quantiles differ by the half percent of a bucket at most."""
    held, counted = archive.stats(asked, Interrupt()), in_buckets(archive, asked, monkeypatch)
    assert held.is_cut == counted.is_cut == (asked is FEW)
    assert len(held.rows) == len(counted.rows) > 0
    is_finer = False
    for one, other in zip(held.rows, counted.rows, strict=True):
        for name in ("duration_us", "first_byte_us", "input_tokens", "output_tokens"):
            assert one.HasField(name) == other.HasField(name) == (name != "output_tokens"), name
            of_one, of_other = getattr(one, name), getattr(other, name)
            assert (of_one.mean, of_one.max) == pytest.approx((of_other.mean, of_other.max))
            for share in ("p50", "p90", "p95", "p99"):
                low, high = getattr(of_one, share), getattr(of_other, share)
                assert low <= high <= low * 1.0052
                is_finer |= low < high
            one.ClearField(name)
            other.ClearField(name)
        assert one == other
    assert is_finer


def test_values_are_exact(archive: Archive) -> None:
    """Where values are held, a quantile is a value that there is: the smallest with such a share."""
    (row,) = archive.stats(StatsQuery(Query()), Interrupt()).rows
    after, records = None, []
    while len(records) < CALLS:
        page = archive.page(Query(), after, CALLS, Interrupt())
        records, after = records + page.records, page.after
    values = sorted(each.timing.duration_us for each in records if each.timing.duration_us >= 0)
    assert 0 < len(values) < CALLS
    assert row.duration_us.p50 == values[-(-len(values) * 50 // 100) - 1]
    assert row.duration_us.p99 == values[-(-len(values) * 99 // 100) - 1]
    assert row.duration_us.max == values[-1]


def test_where_memory_is_short(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into memory is counted in buckets, and answered."""
    in_memory, told = room._Counting._held, []

    def short(self: object, weight: float) -> object:
        told.append(weight)
        raise duckdb.OutOfMemoryException("Out of Memory Error")

    counted = in_buckets(archive, ASKED, monkeypatch)
    monkeypatch.setattr(room._Counting, "_held", short)
    assert archive.stats(ASKED, Interrupt()) == counted
    assert told == [2.0]
    monkeypatch.setattr(room._Counting, "_held", in_memory)


def test_one_holds_values_at_a_time() -> None:
    """In a third of the engine's memory; who asks meanwhile counts in buckets, and neither waits."""
    holding = room.Holding(512 << 20)
    with holding.most_calls() as most, holding.most_calls() as other:
        assert 2_000_000 < most < 3_000_000
        assert other == 0
    with holding.most_calls() as again:
        assert again == most


def test_weights_that_differ(archive: Archive, making: "Making", monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that stand for different numbers of calls are not held: the engine's quantiles are of equals."""
    archive.append([making.entry(CALLS + 1, sampling__fraction=1.0)], NOW)
    assert archive.stats(ASKED, Interrupt()) == in_buckets(archive, ASKED, monkeypatch)
