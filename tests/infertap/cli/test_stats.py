"""`infertap stats` prints figures as a table or as JSON."""

import json
from typing import TYPE_CHECKING

import pytest

from infertap import v1
from infertap.cli import main

if TYPE_CHECKING:
    from tests.infertap.conftest import RecordsServer

Dimension = v1.GetStatsRequest.Dimension


def row(*group: str, calls: float) -> v1.StatsRow:
    return v1.StatsRow(
        group=group,
        records=3,
        calls=calls,
        calls_per_second=calls / 3600,
        failed=calls / 8,
        error_share=0.125,
        duration_us=v1.Quantiles(p50=1500, p95=20_000, p99=2_500_000),
        output_tokens=v1.Quantiles(p50=5),
        output_tokens_sum=123_456,
    )


def test_a_table(server: "RecordsServer", capsys: pytest.CaptureFixture[str]) -> None:
    """A head and a line for each group, in the order of time; what was not measured is a dash."""
    server.stats.rows.extend(
        [row("iris", "2026-01-01T01:00:00Z", calls=36_000), row("", "2026-01-01T00:00:00Z", calls=8)]
    )
    assert main(["stats", "--by", "model,time", "--address", server.address, "--model", "iris"]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    titles = ["model", "time", "calls", "calls/s", "failed", "p50", "p95", "p99", "first", "byte"]
    assert head.split() == [*titles, "tokens", "in", "out"]
    assert first.split()[:4] == ["-", "2026-01-01T00:00:00Z", "8", "0.00222"]
    for told in ("36,000", "12.50%", "1.5 ms", "20.0 ms", "2.50 s", " -  ", "123,456"):
        assert told in second
    (asked,) = server.requests
    assert list(asked.group_by) == [Dimension.MODEL, Dimension.TIME]
    assert (asked.bucket.seconds, asked.filter.model) == (3600, "iris")


def test_by_given_more_than_once(server: "RecordsServer") -> None:
    """Each adds to those before, as commas do."""
    assert main(["stats", "--by", "model", "--by", "time,model_version", "--address", server.address]) == 0
    (asked,) = server.requests
    assert list(asked.group_by) == [Dimension.MODEL, Dimension.TIME, Dimension.MODEL_VERSION]


def test_json(server: "RecordsServer", capsys: pytest.CaptureFixture[str]) -> None:
    """An object on each line, by the contract's names."""
    server.stats.rows.append(row(calls=5))
    assert main(["stats", "--json", "--address", server.address]) == 0
    assert json.loads(capsys.readouterr().out)["duration_us"]["p95"] == 20_000
    assert not server.requests[0].HasField("bucket")


def test_what_is_cut(server: "RecordsServer", capsys: pytest.CaptureFixture[str]) -> None:
    """That there are more groups than are shown is said; so is that there are none."""
    server.stats.rows.append(row("/a", calls=5))
    server.stats.is_cut = True
    assert main(["stats", "--by", "path", "--address", server.address]) == 0
    assert capsys.readouterr().out.endswith("there are more groups; these are the 1 with the most calls\n")
    server.stats.Clear()
    assert main(["stats", "--by", "path", "--address", server.address]) == 0
    assert capsys.readouterr().out.endswith("no records match\n")


def test_hostile_groups(server: "RecordsServer", capsys: pytest.CaptureFixture[str]) -> None:
    """What a record holds never reaches the terminal as a command."""
    server.stats.rows.append(row("\x1b[31mred", calls=5))
    assert main(["stats", "--by", "model", "--address", server.address]) == 0
    assert "\x1b" not in capsys.readouterr().out
