"""Usage of the DuckDB engine's directory: everything in it, each file once whatever its names."""

import os
from pathlib import Path

from storage.archive.duckdb_damage import PREFIX
from storage.archive.duckdb_parts import Part
from storage.archive.removals import Usage


def usage_of(directory: Path) -> Usage:
    """What is on disk now. Raises OSError."""
    sizes: dict[tuple[int, int], int] = {}
    for place, _, names in os.walk(directory):
        for name in names:
            try:
                found = os.stat(os.path.join(place, name))
            except FileNotFoundError:  # gone since it was listed
                continue
            sizes[found.st_dev, found.st_ino] = found.st_size
    there = list(directory.iterdir())
    return Usage(
        disk_bytes=sum(sizes.values()),
        files=sum(Part.of(path) is not None for path in there),
        damaged_files=sum(path.name.startswith(PREFIX) for path in there),
    )
