"""Upkeep: what is done to an archive while it is served: deletions, copies, retention, the audit.

The door of the room.
"""

from storage.upkeep.admin import Admin
from storage.upkeep.auditing import Audited, open_auditing, retention_lease
from storage.upkeep.retention import Retaining

__all__ = [
    "Admin",
    "Audited",
    "Retaining",
    "open_auditing",
    "retention_lease",
]
