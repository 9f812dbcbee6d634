"""Bars: figures held against them."""

import pytest

from bench.bars import BARS, Bar, Verdict, figure, verdict
from bench.results import UNITS, Results, Row
from bench.scenarios import SCENARIOS

MORE = Bar("s", "requests_per_second", "at least", 1.8, 2.2, over="envoy")
LESS = Bar("s", "p50_us", "at most", 100)
ONLY_BEYOND = Bar("s", "shed_share", "at most", None, 0)


@pytest.mark.parametrize(
    ("bar", "value", "stands"),
    [
        (MORE, 2.2, Verdict.BEYOND),
        (MORE, 2.19, Verdict.REACHED),
        (MORE, 1.79, Verdict.SHORT),
        (LESS, 100, Verdict.REACHED),
        (LESS, 100.1, Verdict.SHORT),
        (ONLY_BEYOND, 0, Verdict.BEYOND),
        (ONLY_BEYOND, 0.001, Verdict.SHORT),
    ],
)
def test_verdict(bar: Bar, value: float, stands: Verdict) -> None:
    """Beyond, reached or short, either way."""
    assert verdict(bar, value) is stands


def test_figure() -> None:
    """A metric, or its ratio to a peer's; nothing where either is missing."""
    measured = [("infertap", "requests_per_second", 200), ("envoy", "requests_per_second", 100)]
    rows = [Row("s", system, metric, value, "", value, value) for system, metric, value in measured]
    results = Results(rows=(*rows, Row("s", "infertap", "p50_us", 7.0, "", 7.0, 7.0)))
    assert figure(MORE, results, "infertap") == 2.0
    assert figure(LESS, results, "infertap") == 7.0
    assert figure(MORE, results, "infertap_compiled") is None
    assert figure(ONLY_BEYOND, results, "infertap") is None


def test_bars_can_be_measured() -> None:
    """Every bar names a scenario, a peer that is in it, and a metric there is."""
    systems = {scenario.name: scenario.systems for scenario in SCENARIOS}
    for bar in BARS:
        assert "infertap" in systems[bar.scenario]
        assert bar.over is None or bar.over in systems[bar.scenario]
        assert bar.metric in UNITS
