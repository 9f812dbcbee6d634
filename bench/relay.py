"""Relay: infertap recording everything, beside nginx, HAProxy, Envoy and others passing through.

    python -m bench.relay [--seconds 3] [--rounds 3] [--scenario h1_1k_c16 ...] [--system envoy ...] [--brief]

One core for the system under test, the other for load, upstream and the recorder. Writes the figures to
bench/results/relay.json, where those of scenarios not measured now stay, and for people bench/RESULTS.md.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench import systems, tools
from bench.load import Figures, LoadError
from bench.load.measuring import LOAD_CORE
from bench.observing import Observation
from bench.processes import StartError
from bench.report import report, verdicts
from bench.results import Missing, Results, Row, Run, derived, medians, merged, read, this_machine, write
from bench.scenarios import PRODUCTS, SCENARIOS, Scenario
from bench.systems import STARTERS, Site, System

_OUT: Final = Path("bench/results/relay.json")
_REPORT: Final = Path("bench/RESULTS.md")
_BRIEF_OUT: Final = Path("build/bench/relay.json")
_ALWAYS: Final = ("direct", "infertap")
# To start the systems of a scenario, end them, and let the recorder settle: measured, roughly.
_AROUND_SECONDS: Final = (6.0, 0.4)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured."""

    scenarios: tuple[Scenario, ...]
    systems: tuple[str, ...]
    rounds: int
    seconds: float
    # Each peer only in the first scenario that has it.
    brief: bool = False

    def of(self, scenario: Scenario) -> list[str]:
        """The systems asked for that a scenario has."""
        wanted = [system for system in scenario.systems if system in self.systems]
        if not self.brief:
            return wanted
        before = self.scenarios[: self.scenarios.index(scenario)]
        seen = {system for earlier in before for system in earlier.systems}
        return [system for system in wanted if system in _ALWAYS or system not in seen]

    def lasts_seconds(self) -> float:
        """About how long all of it takes."""
        around, settling = _AROUND_SECONDS
        return sum(
            around
            + sum(
                (scenario.seconds(system, self.seconds) + settling) * scenario.rounds(self.rounds)
                for system in self.of(scenario)
            )
            for scenario in self.scenarios
        )


@dataclass(slots=True)
class Found:
    """What has been measured so far."""

    scenarios: dict[str, Run] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    def take(
        self, scenario: str, run: Run, figures: Mapping[str, Sequence[Figures]], failures: Mapping[str, str]
    ) -> None:
        """A scenario's figures by system and round, without those of systems that failed in any."""
        good = {name: each for name, each in figures.items() if name not in failures}
        rows = [row for name, each in good.items() for row in medians(scenario, name, each)]
        self.rows += [*rows, *derived(rows)]
        self.missing += [Missing(scenario, name, _brief(why)) for name, why in failures.items()]
        self.scenarios[scenario] = run

    def results(self) -> Results:
        """It as it is written."""
        return Results(
            this_machine(),
            _now(),
            tools.versions(),
            dict(self.scenarios),
            tuple(self.missing),
            tuple(self.rows),
        )


def main() -> int:
    """Measure; returns 0 where infertap was measured in all it was to be, whatever the figures."""
    asked = _parse()
    cores = os.sched_getaffinity(0)
    if not {systems.TESTED_CORE, LOAD_CORE} <= cores:
        sys.exit("cores 0 and 1 are needed: one for what is tested, one for everything else")
    tools.install()
    plan = _plan(asked)
    out = asked.out or (_BRIEF_OUT if asked.brief else _OUT)
    page = _REPORT if out == _OUT else out.with_suffix(".md")
    os.sched_setaffinity(0, {LOAD_CORE})
    print(f"this takes about {plan.lasts_seconds() / 60:.0f} minutes", flush=True)
    earlier, results = read(out), Results()
    for results in measured(plan):
        held = merged(earlier, results)
        write(out, held)
        page.write_text(report(held))
    print("\n" + "\n".join(verdicts(results)) + f"\nwritten to {out} and {page}")
    lacking = [each for each in results.missing if each.system in PRODUCTS]
    return int(any(systems.absent(each.system) is None for each in lacking))


def _plan(asked: argparse.Namespace) -> Plan:
    return Plan(
        scenarios=tuple(each for each in SCENARIOS if not asked.scenario or each.name in asked.scenario),
        systems=tuple(asked.system or STARTERS),
        rounds=asked.rounds or (1 if asked.brief else 3),
        seconds=asked.seconds or (0.3 if asked.brief else 3.0),
        brief=asked.brief,
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.relay")
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--seconds", type=float, help="of each measurement (default: 3)")
    parser.add_argument("--rounds", type=int, help="of which the median counts (default: 3)")
    for option, known in (("scenario", names), ("system", list(STARTERS))):
        parser.add_argument(
            f"--{option}", choices=known, nargs="+", metavar="NAME", help=f"only these: {', '.join(known)}"
        )
    parser.add_argument(
        "--brief", action="store_true", help="whether it works, not how fast: everything once, for a moment"
    )
    parser.add_argument(
        "--out", type=Path, help=f"the file of figures (default: {_OUT}; brief: {_BRIEF_OUT})"
    )
    return parser.parse_args()


def measured(plan: Plan) -> Iterator[Results]:
    """All that is measured so far, after each scenario of a plan: who ends it early keeps what there is."""
    found = Found()
    with tempfile.TemporaryDirectory(prefix="infertap-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # nginx's worker is another user
        with systems.upstream(directory) as up:
            for number, scenario in enumerate(plan.scenarios, 1):
                print(f"\n[{number}/{len(plan.scenarios)}] {scenario.name}: {scenario.title}", flush=True)
                _measure_scenario(
                    plan, scenario, Site(directory / scenario.name, up, scenario.settings), found
                )
                yield found.results()


def _measure_scenario(plan: Plan, scenario: Scenario, site: Site, found: Found) -> None:
    rounds = scenario.rounds(plan.rounds)
    figures: dict[str, list[Figures]] = {}
    failures: dict[str, str] = {}
    with _running(plan.of(scenario), site, failures) as running:
        for number in range(rounds):
            for system in [each for each in running if each.name not in failures]:
                print(f"  round {number + 1} of {rounds}, {system.name} ...", end=" ", flush=True)
                try:
                    seconds = scenario.seconds(system.name, plan.seconds)
                    figures.setdefault(system.name, []).append(measure_once(scenario, system, seconds))
                    print(_told(figures[system.name][-1]), flush=True)
                except (LoadError, OSError) as error:
                    failures[system.name] = f"{error}"
                    print(f"failed: {error}", flush=True)
    found.take(scenario.name, Run(_now(), plan.seconds, rounds), figures, failures)


@contextmanager
def _running(names: Sequence[str], site: Site, failures: dict[str, str]) -> Iterator[list[System]]:
    """The systems that can be had, started side by side."""
    site.directory.mkdir()
    site.directory.chmod(0o755)
    failures.update({name: why for name in names if (why := systems.absent(name))})
    with ExitStack() as stack:

        def start(name: str) -> System | None:
            try:
                return stack.enter_context(STARTERS[name](site))
            except (StartError, OSError) as error:
                failures[name] = f"{error}"
                print(f"  {name}: {error}", flush=True)
                return None

        with ThreadPoolExecutor() as pool:
            begun = pool.map(start, [name for name in names if name not in failures])
        yield [system for system in begun if system is not None]


def measure_once(scenario: Scenario, system: System, seconds: float) -> Figures:
    """One measurement, with what it cost and what became of the calls."""
    observation = Observation(system)
    figures = scenario.load(system, seconds)
    return observation.figures(figures.get("calls")) | figures


def _told(figures: Figures) -> str:
    for metric, unit, scale in (
        ("bytes_per_second", "MB/s", 1e-6),
        ("requests_per_second", "calls/s", 1),
        ("event_delay_p99_us", "µs delay at p99", 1),
        ("rss_mib", "MiB", 1),
    ):
        if metric in figures:
            return f"{figures[metric] * scale:,.0f} {unit}"
    return "done"


def _brief(why: str) -> str:
    return " ".join(why.split())[:120]


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%d %H:%M UTC")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nended early; what was measured is written")
