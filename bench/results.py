"""Results: medians over rounds, what follows from them, and the file that holds them.

    {"machine": {"cpu", "cores", "kernel", "python"}, "date", "versions": {tool: version},
     "scenarios": {name: {"date", "seconds", "rounds"}},
     "missing": [{"scenario", "system", "reason"}],
     "rows": [{"scenario", "system", "metric", "value", "unit", "low", "high"}]}

`value` is the median of the rounds, `low` and `high` their ends. A scenario's rows are of one run; a later
run of some scenarios on the same machine takes the place of these and leaves the others.
"""

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

UNITS: Final = {
    "requests_per_second": "1/s",
    "bytes_per_second": "B/s",
    "events_per_second": "1/s",
    "p50_us": "us",
    "p90_us": "us",
    "p99_us": "us",
    "added_p50_us": "us",
    "added_p99_us": "us",
    "event_delay_p50_us": "us",
    "event_delay_p99_us": "us",
    "added_event_delay_p50_us": "us",
    "added_event_delay_p99_us": "us",
    "p50_stopped_us": "us",
    "p99_stopped_us": "us",
    "p50_idle_us": "us",
    "p99_idle_us": "us",
    "p99_ratio": "1",
    "cpu_us_per_request": "us",
    "relay_cpu_us_per_request": "us",
    "rss_mib": "MiB",
    "pss_mib": "MiB",
    "anon_mib": "MiB",
    "anon_growth_mib": "MiB",
    "stored_share": "1",
    "shed_share": "1",
    "recall": "1",
    "withheld_share": "1",
    "false_positives_per_1000": "1/1000",
    "ms_per_mib": "ms/MiB",
    "records_per_second": "1/s",
    "live_per_second": "1/s",
    "seconds": "s",
    "p50_ms": "ms",
    "p99_ms": "ms",
    "max_ms": "ms",
    "bytes_per_record": "B",
    "cpu_us_per_record": "us",
}
_AGAINST_DIRECT: Final = ("p50_us", "p99_us", "event_delay_p50_us", "event_delay_p99_us")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure."""

    scenario: str
    system: str
    metric: str
    value: float
    unit: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Missing:
    """A system that was not measured, and why."""

    scenario: str
    system: str
    reason: str


@dataclass(frozen=True, slots=True)
class Run:
    """How a scenario was measured."""

    date: str
    seconds: float
    rounds: int


@dataclass(frozen=True, slots=True)
class Results:
    """What the file holds."""

    machine: Mapping[str, str | int | None] = field(default_factory=dict)
    date: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    scenarios: Mapping[str, Run] = field(default_factory=dict)
    missing: tuple[Missing, ...] = ()
    rows: tuple[Row, ...] = ()

    def value(self, scenario: str, system: str, metric: str) -> float | None:
        """A median; None where it was not measured."""
        wanted = (scenario, system, metric)
        for row in self.rows:
            if (row.scenario, row.system, row.metric) == wanted:
                return row.value
        return None

    def ratio(self, scenario: str, metric: str, system: str, other: str) -> float | None:
        """`system` over `other`; None where either was not measured."""
        above, below = self.value(scenario, system, metric), self.value(scenario, other, metric)
        return None if above is None or not below else above / below

    def systems(self, scenario: str) -> list[str]:
        """Those that were measured, in the order of their rows."""
        return list(dict.fromkeys(row.system for row in self.rows if row.scenario == scenario))


def medians(scenario: str, system: str, rounds: Sequence[Mapping[str, float]]) -> list[Row]:
    """A row for each metric of the rounds."""
    rows = []
    for metric in {metric: None for each in rounds for metric in each if metric in UNITS}:
        values = [each[metric] for each in rounds if metric in each]
        rows.append(Row(scenario, system, metric, median(values), UNITS[metric], min(values), max(values)))
    return rows


def derived(rows: Sequence[Row]) -> list[Row]:
    """Of one scenario's medians: latency added to direct's, and the recorder's effect on p99."""
    values = {(row.system, row.metric): row.value for row in rows}
    found = []
    for row in rows:
        direct = values.get(("direct", row.metric))
        if row.metric in _AGAINST_DIRECT and direct is not None and row.system != "direct":
            found.append(_derived(row, f"added_{row.metric}", row.value - direct))
        alone = values.get((row.system, "p99_stopped_us"))
        if row.metric == "p99_us" and alone:
            found.append(_derived(row, "p99_ratio", row.value / alone))
    return found


def _derived(row: Row, metric: str, value: float) -> Row:
    return Row(row.scenario, row.system, metric, value, UNITS[metric], value, value)


def merged(earlier: Results | None, new: Results) -> Results:
    """`new`, with the scenarios that it lacks as `earlier` has them if that was on the same machine."""
    if earlier is None or earlier.machine != new.machine:
        return new
    kept = set(earlier.scenarios) - set(new.scenarios)
    return Results(
        machine=new.machine,
        date=new.date,
        versions=new.versions,
        scenarios={
            **{name: earlier.scenarios[name] for name in earlier.scenarios if name in kept},
            **new.scenarios,
        },
        missing=(*(each for each in earlier.missing if each.scenario in kept), *new.missing),
        rows=(*(row for row in earlier.rows if row.scenario in kept), *new.rows),
    )


def write(path: Path, results: Results) -> None:
    """Write the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(results), indent=1) + "\n")


def read(path: Path) -> Results | None:
    """What a file holds; None where there is none, or one of another form."""
    try:
        held: dict[str, Any] = json.loads(path.read_text())
        return Results(
            machine=held["machine"],
            date=held["date"],
            versions=held["versions"],
            scenarios={name: Run(**run) for name, run in held["scenarios"].items()},
            missing=tuple(Missing(**each) for each in held["missing"]),
            rows=tuple(Row(**row) for row in held["rows"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def this_machine() -> dict[str, str | int | None]:
    """What figures depend on."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def of_scenario(rows: Iterable[Row], scenario: str) -> list[Row]:
    """Its rows."""
    return [row for row in rows if row.scenario == scenario]


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
