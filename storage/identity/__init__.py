"""Identity: who calls storage, by gRPC and by HTTP, what they may do, and what they have read.

The door of the room. What the sidecar's API needs as well is in `infertap.identity`.
"""

from infertap.identity import ANYONE, NOBODY, Identity, Role, caller_of
from storage.identity.access import Access, AccessFiles
from storage.identity.access_log import AccessLog
from storage.identity.rates import FeedbackRates
from storage.identity.web_guard import SHOWN, WebGuard

__all__ = [
    "ANYONE",
    "NOBODY",
    "SHOWN",
    "Access",
    "AccessFiles",
    "AccessLog",
    "FeedbackRates",
    "Identity",
    "Role",
    "WebGuard",
    "caller_of",
]
