"""The command: what it makes of scenarios, systems and failures."""

import shutil

import pytest

from bench.relay import Found, Plan, measured
from bench.results import Missing, Run
from bench.scenarios import SCENARIOS

NAMED = {scenario.name: scenario for scenario in SCENARIOS}


def test_failures_are_told() -> None:
    """A system that failed in any round has no figures but a reason, in one line."""
    found = Found()
    figures = {"infertap": [{"p50_us": 3.0}], "direct": [{"p50_us": 1.0}], "envoy": [{"p50_us": 2.0}]}
    found.take("h1", Run("now", 1.0, 2), figures, {"envoy": "it\n  broke"})
    results = found.results()
    assert results.missing == (Missing("h1", "envoy", "it broke"),)
    assert results.systems("h1") == ["infertap", "direct"]
    assert results.value("h1", "infertap", "added_p50_us") == 2.0


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx, the upstream, is not installed")
def test_measured() -> None:
    """A scenario is measured on a real sidecar, and results come after each."""
    plan = Plan((NAMED["body_16m_up"], NAMED["idle"]), ("direct", "infertap"), 1, 0.1)
    first, second = measured(plan)
    assert list(first.scenarios) == ["body_16m_up"]
    assert second.missing == ()
    assert second.systems("body_16m_up") == ["direct", "infertap"]
    assert (second.value("body_16m_up", "infertap", "bytes_per_second") or 0) > 0
    assert second.value("body_16m_up", "infertap", "stored_share") == 1.0
    assert (second.value("idle", "infertap", "rss_mib") or 0) > 10
