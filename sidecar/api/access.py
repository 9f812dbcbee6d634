"""Access: who may ask the sidecar's API. Touches certificates, the identities file and the event log.

Refused calls and reads go to the event log. A sidecar's records have no tenants: an identity's role alone
counts here.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from infertap.identity import Guard, LoggedReads, RefusedCalls, ServerCertificates, ServerFiles, open_roster
from sidecar.event_log import log_event

_WATCH_SECONDS: Final = 1.0
_MOST_CALLS: Final = 64


@dataclass(frozen=True, slots=True)
class ApiFiles:
    """The files, as settings name them; what is None is not wanted."""

    server: ServerFiles | None = None
    identities: str | None = None


class ApiAccess:
    """Who may ask one sidecar."""

    def __init__(self, files: ApiFiles) -> None:
        """Raises UnusableFileError."""
        self.certificates = None if files.server is None else ServerCertificates(files.server, _say)
        roster = None if files.identities is None else open_roster(files.identities, _say)
        refusals = RefusedCalls(lambda _, __: None, _say, time.monotonic)
        reads = None if roster is None else LoggedReads(_EventLog())
        self.guard = Guard(roster, refusals, reads, most_calls=_MOST_CALLS)

    async def watch(self) -> None:
        """Look for changed files, until cancelled."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if self.certificates is not None:
                await asyncio.to_thread(self.certificates.look)
            await self.guard.look()


class _EventLog:
    """Reads, as lines of the event log."""

    async def write(self, event: str, facts: Mapping[str, object]) -> None:
        self.tell(event, facts)

    def tell(self, event: str, facts: Mapping[str, object]) -> None:
        _say(f"API {event}", **facts)


def _say(event: str, **facts: object) -> None:
    plain = {name: each if isinstance(each, str | int) else json.dumps(each) for name, each in facts.items()}
    log_event("recorder", event, **plain)
