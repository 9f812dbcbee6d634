"""Identity: who calls storage, by gRPC and by HTTP, what they may do, and what they have read.

The door of the room. What the sidecar's API needs as well is in `infertap.identity`.
"""

from infertap.identity import ANYONE, NOBODY, Identity, Role, caller_of

__all__ = ["ANYONE", "NOBODY", "Identity", "Role", "caller_of"]
