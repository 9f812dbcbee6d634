"""Migrate: `infertap storage migrate` makes the tables of a ClickHouse archive, or shows what would.

Exit status 0, 1 where ClickHouse refuses, 2 where settings or arguments can't be used.
"""

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Mapping, Sequence

from storage import config
from storage.archive import ArchiveError
from storage.archive.clickhouse_location import SCHEME, Location, read_cluster, read_location
from storage.archive.clickhouse_tables import create_statements
from storage.archive.columns import SCHEMA_VERSION


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command; returns its exit status."""
    given = _parser().parse_args(arguments)
    try:
        settings = config.read(environ)
        if not settings.archive.startswith(SCHEME):
            print("nothing to do: the embedded archive brings itself forward when storage starts")
            return 0
        location = read_location(settings.archive, settings.archive_password_file or "")
        if given.cluster:
            location = dataclasses.replace(location, cluster=read_cluster(given.cluster))
    except (ArchiveError, ValueError) as error:
        print(
            error if isinstance(error, config.SettingsError) else f"INFERTAP_ARCHIVE: {error}",
            file=sys.stderr,
        )
        return 2
    if given.print:
        print(";\n\n".join(create_statements(location.database, location.cluster)) + ";")
        return 0
    try:
        return _migrate(location, settings.archive_memory_bytes)
    except ArchiveError as error:
        print(f"INFERTAP_ARCHIVE: {error}", file=sys.stderr)
        return 1


def _migrate(location: Location, memory_bytes: int) -> int:
    # An extra that few install.
    from storage.archive.clickhouse_connection import Connection  # noqa: PLC0415
    from storage.archive.clickhouse_migration import migrate  # noqa: PLC0415

    with contextlib.closing(Connection(location, memory_bytes)) as connection:
        before = migrate(connection)
    was = "there were none" if before is None else f"they had version {before}"
    print(f"{location}: the tables have version {SCHEMA_VERSION}; {was}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="infertap storage migrate",
        description="Makes the tables of the ClickHouse archive that INFERTAP_ARCHIVE names, where they are "
        "not there. Harmless when run again, and by several at once.",
    )
    parser.add_argument(
        "--cluster",
        metavar="NAME",
        help="replicated and sharded, on this cluster of ClickHouse's configuration",
    )
    parser.add_argument("--print", action="store_true", help="show the statements, and run none")
    return parser
