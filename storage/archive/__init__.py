"""Archive: where records are kept for good. A narrow interface, and the engines behind it.

The door of the room. Every method may block on the disk, and is safe from any thread.
"""

from storage.archive.entries import Entry, FeedbackPage, GapEntry, Page, Position, RecordEntry, Stored
from storage.archive.interface import Archive, ArchiveError, Interrupt
from storage.archive.opening import open_archive
from storage.archive.ranges import Range, RangeSet

__all__ = [
    "Archive",
    "ArchiveError",
    "Entry",
    "FeedbackPage",
    "GapEntry",
    "Interrupt",
    "Page",
    "Position",
    "Range",
    "RangeSet",
    "RecordEntry",
    "Stored",
    "open_archive",
]
