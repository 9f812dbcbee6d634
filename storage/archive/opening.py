"""Opening: the engine that a setting names."""

from pathlib import Path

from storage.archive.duckdb_archive import DuckdbArchive
from storage.archive.interface import Archive


def open_archive(location: str, memory_bytes: int) -> Archive:
    """The archive at `location`, a directory; raises ArchiveError where it can't be used."""
    return DuckdbArchive.open(Path(location), memory_bytes)
