"""The page that people read."""

from bench.report import report, verdicts
from bench.results import Missing, Results, Run, derived, medians


def results() -> Results:
    figures = {
        "direct": {"requests_per_second": 800.0, "p50_us": 10.0},
        "infertap": {"requests_per_second": 230.0, "p50_us": 35.0, "stored_share": 0.1, "shed_share": 0.9},
        "envoy": {"requests_per_second": 100.0, "p50_us": 50.0},
        "nginx": {"requests_per_second": 460.0},
    }
    rows = [row for system, each in figures.items() for row in medians("h1_1k_c16", system, [each])]
    return Results(
        machine={"cpu": "a fine one", "cores": 2, "kernel": "6", "python": "3.11"},
        date="today",
        versions={"nginx": "1.2"},
        scenarios={"h1_1k_c16": Run("today", 3.0, 5)},
        missing=(Missing("h1_1k_c16", "infertap_compiled", "not built"),),
        rows=(*rows, *derived(rows)),
    )


def test_page() -> None:
    """Machine, date, the bars and how they stand, and a table with ratios for each scenario measured."""
    page = report(results())
    assert "a fine one, 2 cores, Linux 6, Python 3.11; nginx 1.2. Measured today, 5 × 3 s." in page
    assert "| h1_1k_c16, calls/s ÷ envoy | ≥ 1.80 × | ≥ 2.20 × | 2.30 ×: beyond |" in page
    assert "| h1_1k_c16, calls/s ÷ nginx | ≥ 0.55 × | ≥ 0.90 × | 0.50 ×: **short** |" in page
    assert "| idle, RSS MiB | ≤ 110 | ≤ 80 | – |" in page
    head = "| System | calls/s | infertap ÷ it | p50 µs | added p50 | stored | shed |"
    assert head in page
    assert "| `infertap` | 230 | 1.00 | 35 | 25 | 10.0% | 90.0% |" in page
    assert "| `nginx` | 460 | 0.50 |  |  |  |  |" in page
    assert "Not measured: `infertap_compiled`: not built." in page
    assert "## h2_1k_4x16" not in page


def test_verdicts() -> None:
    """A line for each bar that was measured, for a terminal."""
    assert verdicts(results()) == [
        "h1_1k_c16, calls/s ÷ envoy, ≥ 1.80 ×, beyond ≥ 2.20 ×: infertap 2.30 ×: beyond",
        "h1_1k_c16, calls/s ÷ nginx, ≥ 0.55 ×, beyond ≥ 0.90 ×: infertap 0.50 ×: short",
    ]
