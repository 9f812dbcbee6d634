"""Ingest: what sidecars send: how much of it is taken at a time, checked, made durable, answered, forgotten.

The door of the room. It fills the archive, and knows nothing of who reads it.
"""

from storage.ingest.following_deletions import FollowingDeletions
from storage.ingest.forgetting import Forgetting
from storage.ingest.recalling import Recalling
from storage.ingest.room import Room
from storage.ingest.service import Ingest
from storage.ingest.streams import Streams
from storage.ingest.writer import Writer, take_all

__all__ = [
    "FollowingDeletions",
    "Forgetting",
    "Ingest",
    "Recalling",
    "Room",
    "Streams",
    "Writer",
    "take_all",
]
