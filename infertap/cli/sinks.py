"""Sinks: `infertap storage sinks`: how far each came, what it refused, and having that sent again."""

import argparse
import sys
from collections.abc import Iterable

from infertap import v1
from infertap.admin import AdminClient
from infertap.cli.options import STORAGE, add_common
from infertap.rendering import local_time, visible

_COLUMNS = ("name", "kind", "delivered", "waiting", "behind", "refused", "lost", "last error")


def add_sinks(parser: argparse.ArgumentParser) -> None:
    """Add `sinks [refused | resend | drop NAME]`."""
    add_common(parser, STORAGE, "")
    parser.add_argument(
        "act",
        nargs="?",
        choices=("refused", "resend", "drop"),
        help="list what a sink refused, have it sent again, or give it up; without any: how all stand",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the sink's")


def ask_of_sinks(admin: AdminClient, read: argparse.Namespace) -> int:
    """Do what was asked; returns the exit status. Raises AdminError."""
    if read.act is None:
        return _show(admin.sinks())
    if read.name is None:
        print(f"usage: infertap storage sinks {read.act} NAME", file=sys.stderr)
        return 2
    if read.act == "refused":
        _list(admin.refused(read.name))
    elif read.act == "resend":
        print(f"{admin.resend(read.name):,} records are sent again")
    else:
        print(f"{admin.drop(read.name):,} records were given up; the archive still has them")
    return 0


def _show(sinks: list[v1.Sink]) -> int:
    if not sinks:
        print("no sinks are configured (INFERTAP_SINKS_FILE)")
        return 0
    rows = [_COLUMNS, *map(_row, sinks)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    return 0


def _row(sink: v1.Sink) -> tuple[str, ...]:
    counts = (sink.delivered, sink.waiting)
    error = f"{sink.last_error} at {local_time(sink.last_error_at)}" if sink.last_error else ""
    behind = f"{sink.behind.seconds:,} s" if sink.waiting else "-"
    return (
        visible(sink.name),
        visible(sink.kind),
        *(f"{count:,}" for count in counts),
        behind,
        f"{sink.refused:,}",
        f"{sink.lost:,}",
        visible(error),
    )


def _list(refused: Iterable[v1.RefusedRecord]) -> None:
    is_empty = True
    for each in refused:
        is_empty = False
        print("  ".join(visible(text) for text in _told(each)))
    if is_empty:
        print("nothing is set aside")


def _told(refused: v1.RefusedRecord) -> tuple[str, ...]:
    return refused.id, refused.call_id, local_time(refused.refused_at), refused.reason
