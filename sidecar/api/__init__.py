"""API: the sidecar's own RecordService, over its spool, so that it is useful without storage.

The door of the room. Touches one listening address and reads the spool; it appends nothing.
"""

from sidecar.api.access import ApiFiles
from sidecar.api.server import Api, CannotServeError

__all__ = ["Api", "ApiFiles", "CannotServeError"]
