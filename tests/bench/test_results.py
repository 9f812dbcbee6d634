"""What becomes of figures: medians, what follows from them, the file."""

import json
from pathlib import Path

from bench.results import Missing, Results, Row, Run, derived, medians, merged, read, write


def rows() -> list[Row]:
    fast = medians("h1", "infertap", [{"p50_us": 30.0, "calls": 9.0}, {"p50_us": 50.0, "p99_us": 70.0}])
    return [*fast, *medians("h1", "direct", [{"p50_us": 10.0}])]


def results(machine: str = "here", **values) -> Results:
    given = {"scenarios": {"h1": Run("today", 3.0, 2)}, "rows": tuple(rows())} | values
    return Results({"cpu": machine}, "today", {"nginx": "1"}, **given)


def test_medians() -> None:
    """Each metric has the median of the rounds that have it, and their ends; `calls` is none."""
    assert [(row.metric, row.value, row.low, row.high, row.unit) for row in rows()] == [
        ("p50_us", 40.0, 30.0, 50.0, "us"),
        ("p99_us", 70.0, 70.0, 70.0, "us"),
        ("p50_us", 10.0, 10.0, 10.0, "us"),
    ]


def test_added_latency() -> None:
    """Latency added to direct's, where both were measured."""
    assert [(row.system, row.metric, row.value) for row in derived(rows())] == [
        ("infertap", "added_p50_us", 30.0)
    ]


def test_effect_of_the_recorder() -> None:
    """p99 with the recorder running over p99 with it stopped."""
    one_core = medians("one", "infertap", [{"p99_us": 30.0, "p99_stopped_us": 20.0}])
    assert [(row.metric, row.value) for row in derived(one_core)] == [("p99_ratio", 1.5)]


def test_ratio() -> None:
    """One system's figure over another's, where both have one."""
    assert results().ratio("h1", "p50_us", "infertap", "direct") == 4.0
    assert results().ratio("h1", "p99_us", "infertap", "direct") is None
    assert results().ratio("h1", "p50_us", "infertap", "nginx") is None


def test_form(tmp_path: Path) -> None:
    """The file holds machine and date, and a row for each figure; it is read as it was written."""
    path = tmp_path / "results" / "x.json"
    wrote = results(missing=(Missing("h1", "envoy", "no"),))
    write(path, wrote)
    held = json.loads(path.read_text())
    assert held["machine"] == {"cpu": "here"}
    assert held["date"] == "today"
    assert held["rows"][2] | {"low": 0, "high": 0} == {
        "scenario": "h1",
        "system": "direct",
        "metric": "p50_us",
        "value": 10.0,
        "unit": "us",
        "low": 0,
        "high": 0,
    }
    assert read(path) == wrote


def test_no_results(tmp_path: Path) -> None:
    """No file, none of JSON, and one of another form, hold no results."""
    path = tmp_path / "x.json"
    assert read(path) is None
    path.write_text("{")
    assert read(path) is None
    path.write_text('{"machine": {}, "rows": []}')
    assert read(path) is None


def test_later_runs() -> None:
    """A later run takes the place of the scenarios it measured, and leaves the others of the same machine."""
    earlier = results()
    later = results(
        scenarios={"h2": Run("now", 1.0, 1)}, rows=tuple(medians("h2", "infertap", [{"p50_us": 1.0}]))
    )
    assert [row.scenario for row in merged(earlier, later).rows] == ["h1", "h1", "h1", "h2"]
    assert list(merged(earlier, later).scenarios) == ["h1", "h2"]
    again = results(rows=())
    assert merged(earlier, again) == again
    elsewhere = results(machine="elsewhere", rows=())
    assert merged(earlier, elsewhere) == elsewhere
