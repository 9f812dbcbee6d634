"""Archive: where records are kept for good. A narrow interface, and the engines behind it.

The door of the room. Every method may block on the disk, and is safe from any thread.
"""

from storage.archive.columns import FILE_VERSION, RECORD_COLUMNS, Column, Kind, record_rows
from storage.archive.duckdb_archive import RESTORING
from storage.archive.entries import (
    POSITION_BYTES,
    Arrival,
    Entry,
    FeedbackPage,
    GapEntry,
    Page,
    Position,
    RecordEntry,
    Stored,
)
from storage.archive.interface import Archive, ArchiveError, CountRemoved, Interrupt, UnreachableError
from storage.archive.migrating import migrate_archive, migrates_itself, migration_statements
from storage.archive.opening import describe_location, open_archive
from storage.archive.ranges import Range, RangeSet
from storage.archive.removals import (
    BY_AGE,
    BY_REQUEST,
    BY_SIZE,
    Damage,
    Deletion,
    Expired,
    Matched,
    ModelRule,
    Retention,
    SnapshotFile,
    Tombstone,
    Usage,
)
from storage.archive.shared import SharedArchive

__all__ = [
    "BY_AGE",
    "BY_REQUEST",
    "BY_SIZE",
    "FILE_VERSION",
    "POSITION_BYTES",
    "RECORD_COLUMNS",
    "RESTORING",
    "Archive",
    "ArchiveError",
    "Arrival",
    "Column",
    "CountRemoved",
    "Damage",
    "Deletion",
    "Entry",
    "Expired",
    "FeedbackPage",
    "GapEntry",
    "Interrupt",
    "Kind",
    "Matched",
    "ModelRule",
    "Page",
    "Position",
    "Range",
    "RangeSet",
    "RecordEntry",
    "Retention",
    "SharedArchive",
    "SnapshotFile",
    "Stored",
    "Tombstone",
    "UnreachableError",
    "Usage",
    "describe_location",
    "migrate_archive",
    "migrates_itself",
    "migration_statements",
    "open_archive",
    "record_rows",
]
