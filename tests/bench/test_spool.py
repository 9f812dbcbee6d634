"""The spool's benchmark measures what it says."""

from concurrent.futures import Executor
from pathlib import Path

import pytest

from bench import spool
from bench.results import Results, Run, medians, this_machine

TINY = spool.Size(seconds=0.1, spool_bytes=16 << 20, backlog=400, outage_seconds=0.1)


@pytest.mark.parametrize("name", ["spool_2k", "restart_1g"])
def test_scenarios(alone: Executor, tmp_path: Path, name: str) -> None:
    """Each gives the figures that its bars are about."""
    figures = alone.submit(spool.SCENARIOS[name], tmp_path, TINY).result()
    assert all(value > 0 for value in figures.values())
    assert {bar.metric for bar in spool.BARS if bar.scenario == name} <= figures.keys()


def test_verdicts() -> None:
    """A bar is reached from the right side."""
    rows = medians("spool_2k", "infertap", [{"records_per_second": 30_000.0}])
    rows += medians("restart_1g", "infertap", [{"seconds": 2.5}])
    results = Results(this_machine(), "now", {}, {"spool_2k": Run("now", 1, 1)}, (), tuple(rows))
    assert spool.verdicts(results) == [
        "spool_2k: records_per_second 30,000.0 (bar 20,000): reached",
        "restart_1g: seconds 2.5 (bar 2): short",
    ]
