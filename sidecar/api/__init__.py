"""API: the sidecar's own RecordService over its spool, useful without storage too; and SpoolService.

The door of the room. Touches one listening address and the spool, which it reads; beyond that it may only set
dead letters pending again.
"""

from sidecar.api.access import ApiFiles
from sidecar.api.server import Api, CannotServeError

__all__ = ["Api", "ApiFiles", "CannotServeError"]
