"""What the benchmarks make of their figures."""

import json
from pathlib import Path

from bench.load import percentile
from bench.relay import shares, verdicts
from bench.results import Row, medians, ratio, table, write


def rows() -> list[Row]:
    fast = medians(
        "h1", "infertap", [{"requests_per_second": 30.0}, {"requests_per_second": 50.0, "p50_us": 7.0}]
    )
    return [*fast, *medians("h1", "envoy", [{"requests_per_second": 20.0}])]


def test_medians() -> None:
    """Each metric has the median of the rounds that have it."""
    assert [(row.metric, row.value, row.unit) for row in rows()] == [
        ("requests_per_second", 40.0, "1/s"),
        ("p50_us", 7.0, "us"),
        ("requests_per_second", 20.0, "1/s"),
    ]


def test_ratio() -> None:
    """One system's figure over another's, where both have one."""
    assert ratio(rows(), "h1", "requests_per_second", "infertap", "envoy") == 2.0
    assert ratio(rows(), "h1", "p50_us", "infertap", "envoy") is None


def test_table() -> None:
    """A line for each system, a dash for what was not measured."""
    head, first, second = table(rows()).splitlines()
    assert head.split() == ["scenario", "system", "requests_per_second", "p50_us"]
    assert first.split() == ["h1", "infertap", "40", "7.000"]
    assert second.split() == ["h1", "envoy", "20", "-"]


def test_form(tmp_path: Path) -> None:
    """The file holds the machine and a row for each figure."""
    write(tmp_path / "results" / "x.json", rows())
    written = json.loads((tmp_path / "results" / "x.json").read_text())
    assert set(written) == {"machine", "rows"}
    assert written["rows"][2] == {
        "scenario": "h1",
        "system": "envoy",
        "metric": "requests_per_second",
        "value": 20.0,
        "unit": "1/s",
    }


def test_percentile() -> None:
    """The value that so many per cent are not above."""
    assert percentile(list(range(100)), 50) == 50
    assert percentile(list(range(100)), 99) == 99
    assert percentile([5], 99) == 5
    assert percentile([], 50) == 0


def test_verdicts() -> None:
    """The bar is 1.3 times Envoy for both closed loops, and nothing shed in the open one."""

    def figures(scenario: str, **of: float) -> list[Row]:
        return [Row(scenario, system, "requests_per_second", value, "1/s") for system, value in of.items()]

    measured = [
        *figures("h1_1k_c16", infertap=130, envoy=100, nginx=260),
        *figures("h2_1k_4x16", infertap=100, envoy=100, nginx=50),
        Row("h1_1k_1000rps", "infertap", "shed_share", 0.001, "1"),
    ]
    assert verdicts(measured) == [
        "h1_1k_c16: 1.30 x Envoy (bar 1.3: reached), 0.50 x nginx",
        "h2_1k_4x16: 1.00 x Envoy (bar 1.3: short by 0.30), 2.00 x nginx",
        "h1_1k_1000rps: 0.10% shed (bar 0: missed)",
    ]
    assert verdicts([]) == []


def test_shares() -> None:
    """Of the calls between two accounts: stored and shed."""
    before = {"calls": {"seen": 10, "shed_a": 1, "shed_b": 0}, "hand_over": {"appended": 9}}
    after = {"calls": {"seen": 110, "shed_a": 21, "shed_b": 5}, "hand_over": {"appended": 84}}
    assert shares(before, after) == {"stored_share": 0.75, "shed_share": 0.25}
    assert shares({}, {}) == {}
