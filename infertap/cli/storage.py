"""Storage: `infertap storage delete | backup | status | sinks`: what is asked of a storage that runs."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from infertap import v1
from infertap.admin import AdminClient, AdminError
from infertap.cli.filter_options import add_filters, conditions
from infertap.cli.options import STORAGE, access, add_common
from infertap.cli.progress import Progress
from infertap.cli.sinks import add_sinks, ask_of_sinks
from infertap.client import ADDRESS_SETTING, DEFAULT_ADDRESS, InvalidRequestError, make_filter
from infertap.connection import AccessError, Connection
from infertap.rendering import counted, visible


def run_storage(arguments: list[str]) -> int:
    """Run `infertap storage delete …` and the like; returns the exit status."""
    read = _parser().parse_args(arguments)
    address = read.address or os.environ.get(ADDRESS_SETTING) or DEFAULT_ADDRESS
    try:
        connection = Connection.of(address, **access(read))
        with AdminClient(connection) as admin:
            return _ACTIONS[read.action](admin, read)
    except (AdminError, AccessError) as error:
        print(f"infertap: {visible(str(error))}", file=sys.stderr)
        return 1
    except InvalidRequestError as error:
        print(f"infertap: {visible(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"infertap: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _delete(admin: AdminClient, read: argparse.Namespace) -> int:
    asked = make_filter(None, **conditions(read))
    raw_user = _typed_user() if read.raw_user == "-" else read.raw_user or ""
    if asked == v1.RecordFilter() and not raw_user:
        print("infertap: say which records, by --user, --raw-user or other conditions", file=sys.stderr)
        return 2
    found = admin.delete(asked, raw_user=raw_user, dry_run=True)
    of = f" of {visible(found.user)}" if found.user else ""
    size, feedback = counted(found.record_bytes, "byte"), counted(found.feedback, "piece")
    print(f"{counted(found.records, 'call')}{of}, {size}, {feedback} of feedback")
    if read.dry_run:
        return 0
    # What says a user only is kept by storage, for records that come late: it is more than what matches now.
    is_kept = bool(found.user or asked.user) and asked == v1.RecordFilter(user=asked.user)
    if not found.records and not is_kept:
        print("nothing to delete")
        return 0
    if not read.yes and not _is_confirmed("Delete all that" if found.records else "Delete what comes late"):
        print("nothing was deleted")
        return 1
    done = admin.delete(asked, raw_user=raw_user)
    print(f"deleted: {counted(done.records, 'record')}, {counted(done.feedback, 'piece')} of feedback")
    return 0


def _typed_user() -> str:
    """From standard input, so that it is in no list of processes and no history."""
    return sys.stdin.readline().rstrip("\n")


def _is_confirmed(act: str) -> bool:
    if not sys.stdin.isatty():
        print("infertap: nobody can be asked here; --yes deletes without asking", file=sys.stderr)
        return False
    return input(f"{act}, for good? Type yes: ").strip() == "yes"


def _back_up(admin: AdminClient, read: argparse.Namespace) -> int:
    with contextlib.ExitStack() as stack:

        def begun(total: int) -> Callable[[int], object]:
            return stack.enter_context(Progress("bytes", total)).add

        contents = admin.back_up(Path(read.directory), begun)
    size = sum(file.size_bytes for file in contents.files)
    print(f"{read.directory}: {counted(len(contents.files), 'file')}, {counted(size, 'byte')}, each checked")
    return 0


def _show(admin: AdminClient, read: argparse.Namespace) -> int:  # noqa: ARG001
    archive = admin.archive()
    limit = f" of {archive.limit_bytes:,}" if archive.limit_bytes else ""
    print(f"{archive.disk_bytes:,} bytes{limit} on disk, {counted(archive.files, 'file')} of records")
    for each in archive.damaged:
        where = f"{each.name} at {each.found_at.ToJsonString()}, kept as {each.kept_as}"
        print(f"damaged: {visible(where)}: {visible(each.why)}")
    return 0


_ACTIONS = {"delete": _delete, "backup": _back_up, "status": _show, "sinks": ask_of_sinks}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="infertap storage")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    deleting = actions.add_parser(
        "delete",
        help="delete records for good",
        description="Counts what matches, asks, and deletes it everywhere: records and feedback, in storage "
        "and in the spools of sidecars. Backups made before still have it.",
    )
    add_common(deleting, STORAGE, "")
    deleting.add_argument(
        "--raw-user",
        metavar="USER",
        help="a user id as callers send it, which storage hashes by its key; - reads it from standard input",
    )
    add_filters(deleting)
    deleting.add_argument("--dry-run", action="store_true", help="only count")
    deleting.add_argument("--yes", action="store_true", help="don't ask")
    backup = actions.add_parser("backup", help="write a copy of the archive, while it goes on")
    add_common(backup, STORAGE, "")
    backup.add_argument("directory", metavar="DIR", help="a new or empty one")
    status = actions.add_parser("status", help="what the archive takes on disk, and what is damaged")
    add_common(status, STORAGE, "")
    add_sinks(actions.add_parser("sinks", help="the systems that records are forwarded to"))
    return parser
