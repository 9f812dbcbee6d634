"""What all loads share."""

import asyncio

import pytest

from bench.load.measuring import LoadError, latencies, percentile, run, whole_seconds


def test_percentile() -> None:
    """The value that so many per cent are not above."""
    assert percentile(list(range(100)), 50) == 50
    assert percentile(list(range(100)), 99) == 99
    assert percentile([5], 99) == 5
    assert percentile([], 50) == 0


def test_latencies() -> None:
    """Three percentiles, of times in any order."""
    assert latencies([float(each) for each in reversed(range(100))]) == {
        "p50_us": 50,
        "p90_us": 90,
        "p99_us": 99,
    }


def test_hanging_load() -> None:
    """A load that hangs is an error, after its time."""

    async def hang() -> dict[str, float]:
        await asyncio.Event().wait()
        return {}

    with pytest.raises(LoadError, match="not over"):
        run(hang(), 0.01)


def test_whole_seconds() -> None:
    """At least one."""
    assert [whole_seconds(each) for each in (0.2, 1.6, 3.0)] == [1, 2, 3]
