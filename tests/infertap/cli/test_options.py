"""Options become the filter that they name."""

import argparse
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infertap.cli.filter_options import conditions, read_duration, read_range, read_time
from infertap.cli.options import add_records, add_stats
from infertap.client import make_filter


def read(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_records(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("2s", 2), ("1.5m", 90), ("2h", 7200), ("1d", 86400), ("0s", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    """A number and its unit."""
    assert read_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1 s", "1w", "1h30m"])
def test_no_durations(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(argparse.ArgumentTypeError, match="duration"):
        read_duration(text)


def test_times() -> None:
    """RFC 3339 with its zone, local without one, or so long ago."""
    assert read_time("2026-01-31T12:00:00Z") == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert read_time("2026-01-31T12:00:00+02:00") == datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert read_time("2026-01-31T12:00") == datetime(2026, 1, 31, 12).astimezone(UTC)
    before = datetime.now(UTC) - timedelta(minutes=15)
    assert before <= read_time("15m") <= datetime.now(UTC) - timedelta(minutes=15)


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        ([], {}),
        (["--state", "failed", "--state", "cancelled"], {"states": ["FAILED", "CANCELLED"]}),
        (["--http-status", "500", "--http-status", "503"], {"http_statuses": [500, 503]}),
        (["--grpc-status", "0"], {"grpc_statuses": [0]}),
        (["--min-duration", "2s"], {"min_duration": timedelta(seconds=2)}),
        (
            ["--model", "m", "--model-version", "1", "--method", "POST", "--path", "/v1/*"],
            {"model": "m", "model_version": "1", "method": "POST", "path": "/v1/*"},
        ),
        (
            ["--request-id", "r", "--user", "u", "--text", "t"],
            {"request_id": "r", "user": "u", "text": "t"},
        ),
        (
            ["--tag", "a", "--tag", "b", "--cohort", "c", "--application-version", "1.2", "--session", "s"],
            {"tags": ["a", "b"], "cohort": "c", "application_version": "1.2", "session": "s"},
        ),
        (
            ["--finish-reason", "stop", "--error-type", "rate_*", "--redaction-class", "email"],
            {"finish_reasons": ["stop"], "error_type": "rate_*", "redaction_class": "email"},
        ),
        (
            ["--input-tokens", "100..", "--output-tokens", "..20", "--total-tokens", "5..9"],
            {"input_tokens": (100, None), "output_tokens": (None, 20), "total_tokens": (5, 9)},
        ),
    ],
)
@pytest.mark.parametrize("action", ["list", "tail"])
def test_filters(action: str, arguments: list[str], asked: dict[str, Any]) -> None:
    """Each option is one field of the filter, and every filter can be sent."""
    found = conditions(read(action, *arguments))
    assert found == asked
    make_filter(**found)


@pytest.mark.parametrize(
    ("text", "ends"), [("1..2", (1, 2)), ("1..", (1, None)), ("..2", (None, 2)), ("7", (7, 7))]
)
def test_ranges(text: str, ends: tuple[int | None, int | None]) -> None:
    """Two ends, one of them, or the one number that is meant."""
    assert read_range(text) == ends


@pytest.mark.parametrize("text", ["", "..", "1..2..3", "-1", "1-2", "a", "1" * 19])
def test_no_ranges(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(argparse.ArgumentTypeError, match="range"):
        read_range(text)


def test_what_figures_are_grouped_by() -> None:
    """Names with a comma in between, dashes or not; an unknown one is refused."""
    parser = argparse.ArgumentParser()
    add_stats(parser)
    assert parser.parse_args(["--by", "model, model-version,TIME"]).by == ["model", "model_version", "time"]
    with pytest.raises(SystemExit):
        parser.parse_args(["--by", "model,colour"])


def test_every_field_has_an_option() -> None:
    """What a filter can ask for, the command line can too."""
    parsed = vars(read("list"))
    others = {"start_time": "since", "end_time": "until", "states": "state"}
    others |= {"http_statuses": "http_status", "grpc_statuses": "grpc_status"}
    for name in make_filter().DESCRIPTOR.fields_by_name:
        assert others.get(name, name) in parsed, name
