"""Sinks: `infertap storage sinks`: how far each came, what it refused; sends that again, or gives it up."""

import argparse
import sys
from collections.abc import Iterable

from infertap import v1
from infertap.admin import AdminClient
from infertap.cli.options import STORAGE, add_common
from infertap.cli.records import as_json
from infertap.rendering import counted, local_time, visible

_COLUMNS = ("name", "kind", "delivered", "waiting", "behind", "refused", "lost", "last error")


def add_sinks(parser: argparse.ArgumentParser) -> None:
    """Add `sinks [refused | resend | drop NAME]`."""
    add_common(parser, STORAGE, "print JSON: an object for each sink or refused record, or one of how many")
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
        _show(admin.sinks(), read.json)
        return 0
    if read.name is None:
        print(f"usage: infertap storage sinks {read.act} NAME", file=sys.stderr)
        return 2
    if read.act == "refused":
        _list(admin.refused(read.name), read.json)
    elif read.act == "resend":
        resent = v1.ResendRefusedRecordsResponse(records=admin.resend(read.name))
        print(as_json(resent) if read.json else f"sent again: {counted(resent.records, 'record')}")
    else:
        dropped = v1.DropRefusedRecordsResponse(records=admin.drop(read.name))
        told = f"given up: {counted(dropped.records, 'record')}, which the archive still has"
        print(as_json(dropped) if read.json else told)
    return 0


def _show(sinks: list[v1.Sink], is_json: bool) -> None:
    if is_json:
        for sink in sinks:
            print(as_json(sink))
        return
    if not sinks:
        print("no sinks are configured (INFERTAP_SINKS_FILE)")
        return
    rows = [_COLUMNS, *map(_row, sinks)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


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


def _list(refused: Iterable[v1.RefusedRecord], is_json: bool) -> None:
    is_empty = True
    for each in refused:
        is_empty = False
        print(as_json(each) if is_json else "  ".join(visible(text) for text in _told(each)))
    if is_empty and not is_json:
        print("nothing is set aside")


def _told(refused: v1.RefusedRecord) -> tuple[str, ...]:
    return refused.id, refused.call_id, local_time(refused.refused_at), refused.reason
