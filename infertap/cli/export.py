"""Export: writes all records that match to files, and shows how far it is."""

import argparse
import sys
from typing import Any

from google.protobuf.json_format import MessageToDict

from infertap.cli.filter_options import conditions
from infertap.cli.progress import Progress
from infertap.cli.records import with_client
from infertap.client import Client, make_filter
from infertap.export import DEFAULT_PART_BYTES, ExportError, State, export_records
from infertap.rendering import counted, visible


def run_export(read: argparse.Namespace) -> int:
    """Run `infertap records export`; returns the exit status."""
    try:
        return with_client(read, _export)
    except ExportError as error:
        print(f"infertap: {visible(str(error))}", file=sys.stderr)
        return 1


def _export(client: Client, read: argparse.Namespace) -> None:
    wanted = make_filter(**conditions(read))
    with Progress("records") as progress:

        def tell(done: int, total: int) -> None:
            progress.reach(done, total)

        state = export_records(
            client,
            read.out,
            read.format,
            wanted,
            part_bytes=read.part_bytes or DEFAULT_PART_BYTES,
            asked=_asked(read),
            tell=tell,
        )
    if read.json:
        print(state.pack().decode(), end="")
    else:
        print("\n".join(_told(state, read.out)))


def _asked(read: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, as typed: `--since 1h` is the same export when it is run again later."""
    said = MessageToDict(make_filter(**conditions(read)), preserving_proto_field_name=True)
    for name, option in (("start_time", "since"), ("end_time", "until")):
        if name in said:
            said[name] = vars(read)[f"{option}_typed"]
    return said


def _told(state: State, out: str) -> list[str]:
    written = f"{counted(state.rows, 'row')} in {counted(len(state.parts), 'part')}"
    lines = [f"{written} at {visible(out.partition('?')[0])}"]
    lines += [f"{count:,} passed over: {reason}" for reason, count in sorted(state.skipped.items())]
    return lines
