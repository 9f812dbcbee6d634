"""Records: fetches what was asked for and prints it."""

import argparse
import io
import os
import sys
from collections.abc import Callable, Iterable

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from infertap import v1
from infertap.cli.filter_options import conditions
from infertap.cli.options import access
from infertap.client import Client, ClientError, InvalidRequestError
from infertap.rendering import Table, in_full, visible


def run_records(read: argparse.Namespace) -> int:
    """Run `infertap records …`; returns the exit status."""
    return with_client(read, _print)


def with_client(read: argparse.Namespace, act: Callable[[Client, argparse.Namespace], None]) -> int:
    """Connect, act and print; returns the exit status, having said what went wrong."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What the terminal's encoding lacks is shown by code point.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with Client(read.address, **access(read)) as client:
            act(client, read)
        # Here, not at exit, where a reader that has enough could no longer be met.
        sys.stdout.flush()
    except ClientError as error:
        print(f"infertap: {visible(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, InvalidRequestError) else 1
    except BrokenPipeError:  # whoever read has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return 0 if vars(read).get("action") == "tail" else 130
    return 0


def _print(client: Client, read: argparse.Namespace) -> None:
    if read.action == "get":
        record = client.get(read.call_id)
        print(as_json(record, indent=2) if read.json else in_full(record))
        return
    if read.action == "list":
        records: Iterable[v1.Record] = client.list(
            limit=read.limit, order_by=read.order_by, **conditions(read)
        )
    else:
        records = client.tail(backlog=read.backlog, **conditions(read))
    table = Table()
    for record in records:
        print(as_json(record) if read.json else table.row(record), flush=read.action == "tail")
    if not read.json and table.is_empty:
        print("no records match")


def as_json(message: Message, indent: int | None = None) -> str:
    """A record, or another message, as JSON (proto3's mapping), on one line unless indented."""
    return MessageToJson(message, preserving_proto_field_name=True, indent=indent, ensure_ascii=True)
