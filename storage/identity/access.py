"""Access: all that the settings say of who may call storage, opened, and kept as the files are.

Touches certificates, the identities file and the access log. It promises: a file that changes is in use
within about WATCH_SECONDS, and a changed file that is no good changes nothing but the event log.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from infertap.identity import Guard, LoggedReads, RefusedCalls, ServerCertificates, ServerFiles, open_roster
from storage.event_log import log_event
from storage.identity.access_log import AccessLog
from storage.identity.web_guard import WebGuard

WATCH_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class AccessFiles:
    """The files, as settings name them; what is None is not wanted."""

    server: ServerFiles | None = None
    identities: str | None = None
    access_log: str | None = None


class Access:
    """Who may call one storage process."""

    def __init__(self, files: AccessFiles, count: Callable[[str, str], None]) -> None:
        """`count` is called with method and reason of each refused call. Raises UnusableFileError, and
        OSError for the access log.
        """
        self.certificates = None if files.server is None else ServerCertificates(files.server, log_event)
        self._roster = None if files.identities is None else open_roster(files.identities, log_event)
        # Where everybody is the same nobody asks who has read what, unless a file is wanted.
        is_logged = files.access_log is not None or files.identities is not None
        self._log = AccessLog(files.access_log) if is_logged else None
        refusals = RefusedCalls(count, log_event, time.monotonic)
        self.guard = Guard(self._roster, refusals, None if self._log is None else LoggedReads(self._log))
        self.web_guard = WebGuard(self._roster, refusals, self._log)

    def describe(self) -> dict[str, object]:
        """What the start's event says of it."""
        count = 0 if self._roster is None else len(self._roster.current.identities)
        return {"tls": self.certificates is not None, "identities": count or "everybody"}

    async def watch(self) -> None:
        """Look for changes, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if self.certificates is not None:
                await asyncio.to_thread(self.certificates.look)
            await self.guard.look()

    def close(self) -> None:
        """Write what waits to be logged."""
        if self._log is not None:
            self._log.close()
