"""API: the sidecar's own RecordService, over its spool, so that it is useful without storage.

The door of the room. Touches one listening address and reads the spool; it appends nothing.
"""

from sidecar.api.server import Api

__all__ = ["Api"]
