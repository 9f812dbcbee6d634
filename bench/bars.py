"""Bars: what infertap is to reach, as data, and how results stand to them. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from bench.results import Results

Sense = Literal["at least", "at most"]


class Verdict(Enum):
    """How a figure stands to its bar."""

    BEYOND = "beyond"
    REACHED = "reached"
    SHORT = "short"


@dataclass(frozen=True, slots=True)
class Bar:
    """`metric` of infertap, or its ratio to that of `over`, is to be at least, or at most, `bar`.

    `beyond` is what lies further; a bar that is None has only that.
    """

    scenario: str
    metric: str
    sense: Sense
    bar: float | None
    beyond: float | None = None
    over: str | None = None


_RPS: Final = "requests_per_second"
BARS: Final = (
    Bar("h1_1k_c16", _RPS, "at least", 1.8, 2.2, over="envoy"),
    Bar("h1_1k_c16", _RPS, "at least", 0.55, 0.9, over="nginx"),
    Bar("h2_1k_4x16", _RPS, "at least", 1.6, 2.2, over="envoy"),
    Bar("h2_1k_4x16", _RPS, "at least", 1.1, 1.6, over="nginx"),
    Bar("h1_1k_c1", "p50_us", "at most", 0.8, over="envoy"),
    Bar("h1_1k_c1", "p50_us", "at most", 1.1, 0.95, over="nginx"),
    Bar("h2_1k_1x1", "p50_us", "at most", 0.8, over="envoy"),
    Bar("h2_1k_1x1", "p50_us", "at most", 1.1, 0.95, over="nginx"),
    Bar("body_16m_up", "bytes_per_second", "at least", 0.8, 1.0, over="nginx_stream"),
    Bar("body_16m_down", "bytes_per_second", "at least", 0.8, 1.0, over="nginx_stream"),
    Bar("sse_200x50", "added_event_delay_p99_us", "at most", 1000, 300),
    Bar("h1_1k_c16_sample0", _RPS, "at least", 0.7, 1.0, over="nginx"),
    Bar("idle", "rss_mib", "at most", 110, 80),
    Bar("h1_1k_1000rps", "shed_share", "at most", 0),
    Bar("h1_1k_4000rps", "shed_share", "at most", None, 0),
    Bar("one_core_saturated", "p99_ratio", "at most", 1.5, 1.1),
    # Flat, within the settings: what the processes hold of their own grows no more once the load is on, and
    # stays under the relay's budget for captured bodies (64 MiB) and the recorder's limit (512 MiB) together.
    Bar("memory_recorder_stopped", "anon_growth_mib", "at most", 8),
    Bar("memory_recorder_stopped", "anon_mib", "at most", 576),
    Bar("memory_storage_away", "anon_growth_mib", "at most", 8),
    Bar("memory_storage_away", "anon_mib", "at most", 576),
)


def figure(bar: Bar, results: Results, system: str) -> float | None:
    """What is held against the bar; None where it was not measured."""
    if bar.over is None:
        return results.value(bar.scenario, system, bar.metric)
    return results.ratio(bar.scenario, bar.metric, system, bar.over)


def verdict(bar: Bar, value: float) -> Verdict:
    """How `value` stands to the bar."""
    if bar.beyond is not None and _holds(bar.sense, value, bar.beyond):
        return Verdict.BEYOND
    if bar.bar is not None and _holds(bar.sense, value, bar.bar):
        return Verdict.REACHED
    return Verdict.SHORT


def stands(bars: Iterable[Bar], results: Results, system: str) -> list[str]:
    """A line for each bar whose figure was measured."""
    lines = []
    for bar in bars:
        value = figure(bar, results, system)
        if value is not None:
            found = verdict(bar, value).value
            lines.append(f"{bar.scenario}: {bar.metric} {value:,.1f} (bar {bar.bar:,.0f}): {found}")
    return lines


def _holds(sense: Sense, value: float, limit: float) -> bool:
    return value >= limit if sense == "at least" else value <= limit
