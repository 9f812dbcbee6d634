"""Opening: the engine that a setting names."""

import re
from pathlib import Path

from storage.archive.duckdb_archive import DuckdbArchive, part_bytes_for, tell_nobody
from storage.archive.duckdb_opening import Tell
from storage.archive.interface import Archive, ArchiveError

CLICKHOUSE = "clickhouse://"


def describe_location(location: str) -> str:
    """`location` without the password that it may hold."""
    return re.sub(rf"^({CLICKHOUSE}[^:@/]*):.*@", r"\1@", location)


def open_archive(
    location: str,
    memory_bytes: int,
    password_file: str = "",
    *,
    disk_bytes: int | None = None,
    tell: Tell = tell_nobody,
) -> Archive:
    """The archive at `location`, a directory or clickhouse://…; raises ArchiveError if it can't be used.

    `disk_bytes` is what a directory is to be kept under, by which its files are made large or small; `tell`
    hears of what takes long or was found.
    """
    scheme, is_url, _ = location.partition("://")
    if not is_url:
        return DuckdbArchive.open(Path(location), memory_bytes, tell, part_bytes_for(disk_bytes))
    if scheme + is_url != CLICKHOUSE:
        raise ArchiveError(f"{scheme}://…: expected a directory, or {CLICKHOUSE}user@host:port/database")
    # An extra that few install.
    from storage.archive.clickhouse_archive import ClickhouseArchive  # noqa: PLC0415
    from storage.archive.clickhouse_location import read_location  # noqa: PLC0415

    try:
        place = read_location(location, password_file)
    except ValueError as error:
        raise ArchiveError(str(error)) from None
    return ClickhouseArchive.open(place, memory_bytes)
