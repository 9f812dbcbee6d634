"""Stats: `infertap stats`: figures over records, as a table or as JSON."""

import argparse
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from google.protobuf.json_format import MessageToJson

from infertap import v1
from infertap.cli.filter_options import conditions
from infertap.cli.records import with_client
from infertap.client import Client
from infertap.rendering import duration, visible

_HOUR: Final = timedelta(hours=1)
_TITLES: Final = ("calls", "calls/s", "failed", "p50", "p95", "p99", "first byte", "tokens in", "out")
_WIDEST: Final = 40


def run_stats(read: argparse.Namespace) -> int:
    """Run `infertap stats`; returns the exit status."""
    return with_client(read, _print)


def _print(client: Client, read: argparse.Namespace) -> None:
    bucket = (read.bucket or _HOUR) if "time" in read.by else read.bucket
    answer = client.stats(by=read.by, bucket=bucket, **conditions(read))
    if read.json:
        for row in answer.rows:
            print(MessageToJson(row, preserving_proto_field_name=True, indent=None, ensure_ascii=True))
        return
    for line in table(read.by, answer.rows):
        print(line)
    if answer.is_cut:
        print(f"there are more groups; these are the {len(answer.rows)} with the most calls")


def table(by: Sequence[str], rows: Sequence[v1.StatsRow]) -> Iterator[str]:
    """The lines of a table, in the order of the rows; by time in the order of time."""
    if "time" in by:
        rows = sorted(rows, key=lambda row: row.group[by.index("time")])
    cells = [[*by, *_TITLES], *(_cells(row) for row in rows)]
    widths = [min(max(map(len, column)), _WIDEST) for column in zip(*cells, strict=True)]
    for line in cells:
        yield "  ".join(
            _fit(cell, width, is_number=place >= len(by))
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
    if not rows:
        yield "no records match"


def _fit(cell: str, width: int, *, is_number: bool) -> str:
    cut = cell if len(cell) <= width else cell[: width - 1] + "…"
    return cut.rjust(width) if is_number else cut.ljust(width)


def _cells(row: v1.StatsRow) -> list[str]:
    took, first = row.duration_us, row.first_byte_us
    return [
        *(visible(value) or "-" for value in row.group),
        f"{row.calls:,.0f}",
        f"{row.calls_per_second:,.3g}",
        f"{row.error_share:.2%}",
        *(_time(row, "duration_us", value) for value in (took.p50, took.p95, took.p99)),
        _time(row, "first_byte_us", first.p50),
        f"{row.input_tokens_sum:,.0f}",
        f"{row.output_tokens_sum:,.0f}",
    ]


def _time(row: v1.StatsRow, name: str, microseconds: float) -> str:
    is_there = row.HasField("duration_us") if name == "duration_us" else row.HasField("first_byte_us")
    return duration(round(microseconds)) if is_there else "-"
