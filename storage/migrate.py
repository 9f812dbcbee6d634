"""Migrate: `infertap storage migrate` makes the tables of a ClickHouse archive, or shows what would.

Exit status 0, 1 where ClickHouse refuses, 2 where settings or arguments can't be used.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence

from storage import config
from storage.archive import ArchiveError, migrate_archive, migrates_itself, migration_statements


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command; returns its exit status."""
    given = _parser().parse_args(arguments)
    try:
        settings = config.read(environ)
    except config.SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        print(_run(settings, given.cluster or "", given.print))
    except (ArchiveError, ValueError) as error:
        print(f"INFERTAP_ARCHIVE: {error}", file=sys.stderr)
        return 1 if isinstance(error, ArchiveError) else 2
    return 0


def _run(settings: config.Settings, cluster: str, only_shows: bool) -> str:
    """What is to be said; raises ArchiveError and ValueError."""
    if migrates_itself(settings.archive):
        return "nothing to do: the embedded archive brings itself forward when storage starts"
    if only_shows:
        return ";\n\n".join([*migration_statements(settings.archive, cluster), ""]).rstrip()
    password_file = settings.archive_password_file or ""
    return migrate_archive(settings.archive, password_file, settings.archive_memory_bytes, cluster)


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
