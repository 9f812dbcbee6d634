"""Audit: what makes an edited archive visible: Merkle logs, chain checks, signed checkpoints, heartbeats.

The door of the room. It knows no engine: an archive calls its logs, and gives it what they hold.
"""

from storage.audit.auditing import Auditing, Signing, Sources
from storage.audit.interface import AuditArchive, LogSize, Place
from storage.audit.keys import KeyFileError, read_keys
from storage.audit.logs import Deleted, Extension, LeafRow, TreeLogs
from storage.audit.serving import Audit
from storage.audit.sharing import LEASE_SECONDS, Lease
from storage.audit.spools import ForeignSpoolError, Spools, TooManySpoolsError

__all__ = [
    "LEASE_SECONDS",
    "Audit",
    "AuditArchive",
    "Auditing",
    "Deleted",
    "Extension",
    "ForeignSpoolError",
    "KeyFileError",
    "LeafRow",
    "Lease",
    "LogSize",
    "Place",
    "Signing",
    "Sources",
    "Spools",
    "TooManySpoolsError",
    "TreeLogs",
    "read_keys",
]
