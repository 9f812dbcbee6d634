"""The list of scenarios, and what a plan makes of it."""

from bench.relay import Plan
from bench.scenarios import PRODUCTS, SCENARIOS
from bench.systems import STARTERS


def plan(brief: bool = False, systems: tuple[str, ...] = tuple(STARTERS)) -> Plan:
    return Plan(SCENARIOS, systems, 3, 3.0, brief)


def test_names() -> None:
    """Scenarios have names of their own, and systems that exist; infertap is in all."""
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
    for scenario in SCENARIOS:
        assert set(scenario.systems) <= set(STARTERS)
        assert "infertap" in scenario.systems


def test_length() -> None:
    """A run of everything stays under 25 minutes, a brief one under four."""
    assert plan().lasts_seconds() < 25 * 60
    assert Plan(SCENARIOS, tuple(STARTERS), 1, 0.3, True).lasts_seconds() < 4 * 60


def test_sustained() -> None:
    """A sustained scenario has one round, in which infertap goes on for a minute."""
    sustained = [scenario for scenario in SCENARIOS if scenario.sustained]
    assert {scenario.name for scenario in sustained} >= {"h1_1k_1000rps", "h1_1k_4000rps"}
    for scenario in sustained:
        assert scenario.rounds(3) == 1
        assert scenario.seconds("infertap", 3.0) == 60.0
        assert scenario.seconds("nginx", 3.0) < 20.0


def test_systems_asked_for() -> None:
    """A scenario is measured with those of its systems that were asked for."""
    asked = plan(systems=("infertap", "grpc_aio"))
    assert {tuple(asked.of(scenario)) for scenario in SCENARIOS} == {("infertap",), ("infertap", "grpc_aio")}


def test_brief() -> None:
    """A brief run has every system and every scenario, but each peer once."""
    ran = [system for scenario in SCENARIOS for system in plan(brief=True).of(scenario)]
    assert set(ran) == set(STARTERS)
    assert ran.count("infertap") == len(SCENARIOS)
    assert all(ran.count(name) == 1 for name in STARTERS if name not in ("direct", "infertap"))
    assert set(PRODUCTS) <= set(ran)
