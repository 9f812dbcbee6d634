"""Audit: what makes an edited archive visible: Merkle logs, chain checks, signed checkpoints, heartbeats.

The door of the room. It knows no engine: an archive calls its logs, and gives it what they hold.
"""

from storage.audit.interface import AuditArchive, LogSize, Place
from storage.audit.logs import Deleted, Extension, LeafRow, TreeLogs

__all__ = ["AuditArchive", "Deleted", "Extension", "LeafRow", "LogSize", "Place", "TreeLogs"]
