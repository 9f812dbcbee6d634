"""What a measurement costs a system, and what becomes of its calls."""

import os

import pytest

from bench.observing import Observation, growth, proportional_mib, sampled, shares
from bench.ports import Ports
from bench.systems import System


def test_shares() -> None:
    """Of the calls between two accounts: stored and shed."""
    before = {"calls": {"seen": 10, "shed_a": 1, "shed_b": 0}, "hand_over": {"appended": 9}}
    after = {"calls": {"seen": 110, "shed_a": 21, "shed_b": 5}, "hand_over": {"appended": 84}}
    assert shares(before, after) == {"stored_share": 0.75, "shed_share": 0.25}
    assert shares({}, {}) == {}
    assert shares(before, before) == {}


def test_growth() -> None:
    """The most, and how far the second half goes above the first."""
    assert growth([10, 30, 20, 34]) == {"anon_mib": 34, "anon_growth_mib": 4}
    assert growth([30, 10, 20]) == {"anon_mib": 30, "anon_growth_mib": -10}
    assert growth([1]) == {}


def test_process() -> None:
    """CPU by call and peak memory, of the processes of a system."""
    observation = Observation(System("this", Ports(1, 2, 3), (os.getpid(),)))
    kept = bytearray(os.urandom(32 << 20))
    while (figures := observation.figures(10.0))["cpu_us_per_request"] == 0:
        kept.reverse()
    assert figures["rss_mib"] > 32
    assert proportional_mib([os.getpid()]) > 32
    assert "relay_cpu_us_per_request" not in figures
    assert "cpu_us_per_request" not in observation.figures(None)


def test_direct() -> None:
    """What has no process costs nothing that could be told."""
    assert Observation(System("direct", Ports(1, 2, 3))).figures(10.0) == {}


@pytest.mark.timeout(10)
def test_sampled() -> None:
    """Samples come while the context lasts."""
    with sampled([os.getpid()]) as samples:
        while len(samples) < 2:
            pass
    assert min(samples) > 1
