"""Opening: the engine that a setting names."""

from pathlib import Path

from storage.archive.duckdb_archive import DuckdbArchive
from storage.archive.interface import Archive, ArchiveError

CLICKHOUSE = "clickhouse://"


def open_archive(location: str, memory_bytes: int, password_file: str = "") -> Archive:
    """The archive at `location`, a directory or clickhouse://…; raises ArchiveError if it can't be used."""
    if not location.startswith(CLICKHOUSE):
        return DuckdbArchive.open(Path(location), memory_bytes)
    # An extra that few install.
    from storage.archive.clickhouse_archive import ClickhouseArchive  # noqa: PLC0415
    from storage.archive.clickhouse_location import read_location  # noqa: PLC0415

    try:
        place = read_location(location, password_file)
    except ValueError as error:
        raise ArchiveError(str(error)) from None
    return ClickhouseArchive.open(place, memory_bytes)
