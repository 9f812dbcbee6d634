"""Report: results as Markdown: how they came about, the bars, and a table for each scenario. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from bench.bars import BARS, Bar, Verdict, figure, verdict
from bench.results import Results
from bench.scenarios import PRODUCTS, SCENARIOS, Scenario

_PREFACE: Final = """\
# The relay beside its peers

Made by `make bench-relay`; don't edit. Two cores: what is under test is alone on one, with one worker; load,
upstream and infertap's recorder are on the other. Rounds alternate between the systems of a scenario, figures
are medians of the rounds, ratios are of medians of one run. Every call through infertap is parsed, captured
and offered to its recorder, which redacts by all classes. What it has no CPU for is shed, and counted:
`stored` and `shed` say how much. Peers record nothing, but for `envoy_tap`, which writes every call,
unredacted, to a file in memory.

- `infertap`: as it is by default: the recorder at nice 10 and on idle time (SCHED_IDLE).
- `infertap_nice`: the recorder at nice 10 only, as with `INFERTAP_RECORDER_PRIORITY=nice`.
- `infertap_compiled`: as by default, the pure modules compiled.
- `direct`: no proxy; load and upstream share their core. Added latency is against it.
- `nginx_stream`: nginx passing bytes, not looking into them.

CPU is of all processes of a system, relay CPU of infertap's relay alone. RSS is the most during the load,
summed over the processes: libraries that they share count once for each, and of infertap's spool, a mapped
file, what is in memory. `own` is what is neither (RssAnon)."""
_SHOWN_VERDICTS: Final = {Verdict.BEYOND: "beyond", Verdict.REACHED: "reached", Verdict.SHORT: "**short**"}
_HEADS: Final = {
    "requests_per_second": "calls/s",
    "bytes_per_second": "MB/s",
    "events_per_second": "events/s",
    "p50_us": "p50 µs",
    "p90_us": "p90 µs",
    "p99_us": "p99 µs",
    "added_p50_us": "added p50",
    "added_p99_us": "added p99",
    "event_delay_p50_us": "delay p50 µs",
    "event_delay_p99_us": "delay p99 µs",
    "added_event_delay_p50_us": "added p50",
    "added_event_delay_p99_us": "added p99",
    "p50_stopped_us": "p50 µs, recorder stopped",
    "p99_stopped_us": "p99 µs, recorder stopped",
    "p99_ratio": "p99 ratio",
    "cpu_us_per_request": "CPU µs/call",
    "relay_cpu_us_per_request": "relay CPU",
    "rss_mib": "RSS MiB",
    "pss_mib": "PSS MiB",
    "anon_mib": "own MiB",
    "anon_growth_mib": "growth MiB",
    "stored_share": "stored",
    "shed_share": "shed",
}
# What scenarios are compared by: the first of these that they have.
_COMPARED: Final = ("bytes_per_second", "requests_per_second")


def report(results: Results) -> str:
    """The whole page."""
    parts = [_PREFACE, _provenance(results), _bars(results)]
    parts += [_scenario(scenario, results) for scenario in SCENARIOS if scenario.name in results.scenarios]
    return "\n\n".join(parts) + "\n"


def verdicts(results: Results) -> list[str]:
    """A line for each bar whose scenario was measured, for a terminal."""
    lines = []
    for bar in BARS:
        stands = [f"{system} {_stand(bar, results, system)}" for system in _measured_products(results)]
        shown = [each for each in stands if not each.endswith("–")]
        if shown:
            lines.append(f"{_named(bar)}, {_asked(bar)}: {'; '.join(shown)}".replace("**", ""))
    return lines


def _provenance(results: Results) -> str:
    machine, runs = results.machine, results.scenarios.values()
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    dates = sorted(run.date for run in runs)
    lengths = sorted({f"{run.rounds} × {run.seconds:g} s" for run in runs})
    return (
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}; "
        f"{versions}. Measured {' to '.join(dict.fromkeys((dates[0], dates[-1])))}, {', '.join(lengths)}."
    )


def _measured_products(results: Results) -> list[str]:
    measured = {row.system for row in results.rows}
    return [system for system in PRODUCTS if system in measured]


def _bars(results: Results) -> str:
    products = _measured_products(results)
    head = ["Scenario", "Bar", "Beyond", *products]
    lines = [
        [
            _named(bar),
            _limit(bar, bar.bar),
            _limit(bar, bar.beyond),
            *(_stand(bar, results, it) for it in products),
        ]
        for bar in BARS
    ]
    return f"## Bars\n\n{_table(head, lines)}"


def _named(bar: Bar) -> str:
    return f"{bar.scenario}, {_HEADS[bar.metric]}" + (f" ÷ {bar.over}" if bar.over else "")


def _asked(bar: Bar) -> str:
    beyond = "" if bar.beyond is None else f"beyond {_limit(bar, bar.beyond)}"
    return ", ".join(part for part in (_limit(bar, bar.bar) if bar.bar is not None else "", beyond) if part)


def _limit(bar: Bar, limit: float | None) -> str:
    if limit is None:
        return "–"
    return f"{'≥' if bar.sense == 'at least' else '≤'} {_of_bar(bar, limit)}"


def _of_bar(bar: Bar, value: float) -> str:
    return f"{value:.2f} ×" if bar.over else _shown(bar.metric, value)


def _stand(bar: Bar, results: Results, system: str) -> str:
    value = figure(bar, results, system)
    if value is None:
        return "–"
    return f"{_of_bar(bar, value)}: {_SHOWN_VERDICTS[verdict(bar, value)]}"


def _scenario(scenario: Scenario, results: Results) -> str:
    name = scenario.name
    systems = results.systems(name)
    metrics = [it for it in _HEADS if any(results.value(name, each, it) is not None for each in systems)]
    compared = next((it for it in _COMPARED if it in metrics and "infertap" in systems), None)
    compared = None if scenario.sustained else compared
    head = ["System", *(_HEADS[metric] for metric in metrics)]
    if compared:
        head.insert(2, "infertap ÷ it")
    lines = []
    for system in systems:
        line = [f"`{system}`", *(_cell(results, name, system, metric) for metric in metrics)]
        if compared:
            line.insert(2, _ratio(results.ratio(name, compared, "infertap", system)))
        lines.append(line)
    missing = [f"`{each.system}`: {each.reason}." for each in results.missing if each.scenario == name]
    said = ["", "Not measured: " + " ".join(missing)] if missing else []
    return "\n".join([f"## {name}", "", f"{scenario.title}.", "", _table(head, lines), *said])


def _cell(results: Results, scenario: str, system: str, metric: str) -> str:
    value = results.value(scenario, system, metric)
    return "" if value is None else _shown(metric, value)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _shown(metric: str, value: float) -> str:
    if metric.endswith("_share"):
        return f"{value:.1%}" if value else "0"
    if metric == "bytes_per_second":
        return f"{value / 1e6:,.0f}"
    if metric == "p99_ratio":
        return f"{value:.2f}"
    return f"{value:.1f}" if abs(value) < 100 and value % 1 else f"{value:,.0f}"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---", *("--:" for _ in head[1:])], *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
