"""Identity: who calls our gRPC servers, and what they may do. For storage and the sidecar's API alike.

The door of the room.
"""

from infertap.identity.caller import ANYONE, NOBODY, Identity, Role, caller_of, set_caller
from infertap.identity.required import KNOWN, OPEN, ROLES

__all__ = [
    "ANYONE",
    "KNOWN",
    "NOBODY",
    "OPEN",
    "ROLES",
    "Identity",
    "Role",
    "caller_of",
    "set_caller",
]
