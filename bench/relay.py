"""Relay: requests per second of infertap recording everything, beside nginx and Envoy passing through.

    python -m bench.relay [--seconds 5] [--rounds 3] [--scenario h1_1k_c16] [--recorder nice]

One core for the relay under test, the other for load, upstream and the recorder, which redacts by all classes
and runs on idle time, as by default, or at nice 10: the first line of the output says which. Every call is
parsed, captured and offered to the recorder; what that can't take on its share of a core is shed, and shown.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from bench import load, systems, tools
from bench.results import Row, medians, ratio, table, write
from bench.systems import System

SCENARIOS: Final = ("h1_1k_c16", "h2_1k_4x16", "h1_1k_1000rps")
BAR: Final = 1.3
# As the setting has them, the default first.
PRIORITIES: Final = ("idle", "nice")
_RATE: Final = 1000.0
_OUT: Final = Path("bench/results/relay.json")


def main() -> int:
    """Measure; returns 0 where all was measured, whatever the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.relay")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    parser.add_argument(
        "--scenario", choices=SCENARIOS, action="append", help="only this one; may be repeated"
    )
    parser.add_argument(
        "--recorder",
        choices=PRIORITIES,
        default="idle",
        help="its INFERTAP_RECORDER_PRIORITY (default: %(default)s)",
    )
    asked = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("two cores are needed: one for the relay, one for everything else")
    envoy = tools.install()
    print(f"recorder's priority: {asked.recorder}", flush=True)
    rows = measure(envoy, asked.scenario or SCENARIOS, asked.rounds, asked.seconds, asked.recorder)
    write(_OUT, rows)
    print(f"\n{table(rows)}\n")
    print("\n".join(verdicts(rows)))
    print(f"written to {_OUT}")
    return 0


def verdicts(rows: Sequence[Row]) -> list[str]:
    """A line for each scenario that was measured: how it stands beside the others, and to the bar."""
    lines = []
    for scenario in ("h1_1k_c16", "h2_1k_4x16"):
        of_envoy = ratio(rows, scenario, "requests_per_second", "infertap", "envoy")
        of_nginx = ratio(rows, scenario, "requests_per_second", "infertap", "nginx")
        if of_envoy is not None and of_nginx is not None:
            held = "reached" if of_envoy >= BAR else f"short by {BAR - of_envoy:.2f}"
            lines.append(f"{scenario}: {of_envoy:.2f} x Envoy (bar {BAR}: {held}), {of_nginx:.2f} x nginx")
    for row in rows:
        if (row.scenario, row.metric) == ("h1_1k_1000rps", "shed_share"):
            held = "reached" if row.value == 0 else "missed"
            lines.append(f"h1_1k_1000rps: {row.value:.2%} shed (bar 0: {held})")
    return lines


def measure(
    envoy: Path, scenarios: Sequence[str], rounds: int, seconds: float, recorder: str = PRIORITIES[0]
) -> list[Row]:
    """Rows of all scenarios; in each round every system has its turn."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="infertap-bench-")))
        directory.chmod(0o755)  # nginx's worker is another user
        direct = stack.enter_context(systems.upstream(directory))
        tested = [
            direct,
            stack.enter_context(systems.nginx(directory, direct)),
            stack.enter_context(systems.envoy(directory, direct, envoy)),
            stack.enter_context(systems.infertap(directory, direct, recorder)),
        ]
        rows: list[Row] = []
        for scenario in scenarios:
            figures: dict[str, list[dict[str, float]]] = {system.name: [] for system in tested}
            for number in range(rounds):
                for system in tested:
                    print(
                        f"{scenario}, round {number + 1} of {rounds}: {system.name} ...", end=" ", flush=True
                    )
                    figures[system.name].append(measure_once(directory, scenario, system, seconds))
                    print(f"{figures[system.name][-1]['requests_per_second']:,.0f}/s", flush=True)
            for name, each in figures.items():
                rows += medians(scenario, name, each)
        return rows


def measure_once(directory: Path, scenario: str, system: System, seconds: float) -> dict[str, float]:
    """One measurement, with what became of the calls."""
    before = system.account()
    if scenario == "h1_1k_c16":
        figures = load.h1_closed(directory, system.h1, seconds)
    elif scenario == "h2_1k_4x16":
        figures = load.h2_closed(directory, system.h2, seconds)
    else:
        figures = asyncio.run(load.h1_open(system.h1, _RATE, seconds))
    return figures | shares(before, system.account())


def shares(before: dict[str, Any], after: dict[str, Any]) -> dict[str, float]:
    """Of the calls seen between two accounts: the share that was stored, and the share that was shed."""
    if not after:
        return {}

    def more(line: str, *terms: str) -> int:
        return sum(after[line][term] - before[line][term] for term in terms)

    seen = max(more("calls", "seen"), 1)
    shed = [term for term in after["calls"] if term.startswith("shed_")]
    return {
        "stored_share": more("hand_over", "appended") / seen,
        "shed_share": more("calls", *shed) / seen,
    }


if __name__ == "__main__":
    sys.exit(main())
