"""Caller: who calls, which tenant's data that is about, and what the call may do. Plain values.

Touches one context variable: the guard of a server sets it for each call, before any of the service's code
runs. It promises: code that asks outside a guarded call gets NOBODY, who has no role and no other data than
that of the unnamed tenant. Work that a call starts, in tasks and in `asyncio.to_thread`, has its caller.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What an identity may do."""

    # Send records, as a sidecar does.
    INGEST = "ingest"
    # Fetch records, feedback and figures.
    READ = "read"
    # Give feedback.
    FEEDBACK = "feedback"
    # Delete, back up, mend.
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls."""

    # For people and logs; unique in the identities file. Empty where identities are not configured.
    name: str
    # Whose data it sees and writes; None: that of all tenants.
    tenant: str | None
    roles: frozenset[Role]
    # Pieces of feedback that it may give in a minute; None: as the server's settings say.
    feedback_per_minute: int | None = None

    @property
    def writes_as(self) -> str:
        """The tenant of what it writes."""
        return self.tenant or ""


# Where no identities are configured, everybody is this one.
ANYONE: Final = Identity("", None, frozenset(Role))
NOBODY: Final = Identity("", "", frozenset())

_CALLER: ContextVar[Identity] = ContextVar("caller", default=NOBODY)


def caller_of(context: object) -> Identity:
    """Who makes the call of `context`, a ServicerContext; to be asked within that call."""
    del context  # which call it is, the context variable knows; gRPC's object takes no attribute
    return _CALLER.get()


def set_caller(identity: Identity) -> None:
    """For guards: the call that runs here is this one's."""
    _CALLER.set(identity)
