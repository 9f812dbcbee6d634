"""Migrating: making the tables of an archive whose engine does not do so by itself."""

import contextlib
import dataclasses

from storage.archive.clickhouse_location import SCHEME, Location, read_cluster, read_location
from storage.archive.clickhouse_tables import TABLES_VERSION, create_statements


def migrates_itself(location: str) -> bool:
    """Whether the archive at `location` brings itself forward when it is opened."""
    return not location.startswith(SCHEME)


def migration_statements(location: str, cluster: str = "") -> list[str]:
    """What makes the tables at `location`, on a cluster where one is named. Raises ValueError."""
    place = _read(location, "", cluster)
    return create_statements(place.database, place.cluster)


def migrate_archive(location: str, password_file: str, memory_bytes: int, cluster: str = "") -> str:
    """Make the tables that are not there; says what was done. Raises ValueError and ArchiveError."""
    place = _read(location, password_file, cluster)
    # An extra that few install.
    from storage.archive.clickhouse_connection import Connection  # noqa: PLC0415
    from storage.archive.clickhouse_migration import migrate  # noqa: PLC0415

    with contextlib.closing(Connection(place, memory_bytes)) as connection:
        before = migrate(connection)
    was = "there were none" if before is None else f"they had version {before}"
    return f"{place}: the tables have version {TABLES_VERSION}; {was}"


def _read(location: str, password_file: str, cluster: str) -> Location:
    place = read_location(location, password_file)
    return dataclasses.replace(place, cluster=read_cluster(cluster)) if cluster else place
