"""Results: medians over rounds, the JSON that every benchmark writes, and the table that people read.

{"machine": {...}, "rows": [{"scenario", "system", "metric", "value", "unit"}]}
"""

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

UNITS: Final = {
    "requests_per_second": "1/s",
    "p50_us": "us",
    "p99_us": "us",
    "stored_share": "1",
    "shed_share": "1",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One figure."""

    scenario: str
    system: str
    metric: str
    value: float
    unit: str


def medians(scenario: str, system: str, rounds: Sequence[Mapping[str, float]]) -> list[Row]:
    """A row for each metric of the rounds: its median."""
    metrics = {metric: None for each in rounds for metric in each}
    return [
        Row(
            scenario, system, metric, median(each[metric] for each in rounds if metric in each), UNITS[metric]
        )
        for metric in metrics
    ]


def ratio(rows: Iterable[Row], scenario: str, metric: str, system: str, other: str) -> float | None:
    """`system` over `other`; None where either was not measured."""
    values = {row.system: row.value for row in rows if (row.scenario, row.metric) == (scenario, metric)}
    if system not in values or not values.get(other):
        return None
    return values[system] / values[other]


def table(rows: Iterable[Row]) -> str:
    """A line for each scenario and system, a column for each metric."""
    rows = list(rows)
    metrics = list(dict.fromkeys(row.metric for row in rows))
    cells = [["scenario", "system", *metrics]]
    for scenario, system in dict.fromkeys((row.scenario, row.system) for row in rows):
        values = {row.metric: row.value for row in rows if (row.scenario, row.system) == (scenario, system)}
        cells.append([scenario, system, *(_shown(values.get(metric)) for metric in metrics)])
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    )


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if value < 10 else f"{value:,.0f}"


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write the JSON form."""
    machine = {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
