"""Following: tells live listeners what other storage processes store in an archive that they share.

Touches the archive, the wall clock and one event loop. There is no channel between the processes: while
somebody listens, the archive is asked twice a second for what was stored lately, also by this process. A
record may be seen late, when its insert took long or its storage's clock is behind; so each look goes back
`OVERLAP_NS`, and what was told is remembered for so long. It promises: each record is told once, as far as
clocks differ by less than that.
"""

import asyncio
import time
from typing import Final

from storage.archive import ArchiveError, SharedArchive, Stored
from storage.live.live import Live

EVERY_SECONDS: Final = 0.5
OVERLAP_NS: Final = 10_000_000_000
MOST_AT_ONCE: Final = 2_000


class Following:
    """What has been told; one for each process."""

    def __init__(self, archive: SharedArchive, live: Live) -> None:
        self._archive = archive
        self._live = live
        # When it was stored, of what has been looked at.
        self._known: dict[tuple[bytes, int], int] = {}
        self._began_ns = time.time_ns()

    async def run(self) -> None:
        """Look and tell, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            if not self._live.has_listeners:
                self._known.clear()
                self._began_ns = time.time_ns()
                continue
            while len(await self._look()) == MOST_AT_ONCE:
                pass

    async def _look(self) -> list[Stored]:
        """What is new; nothing while the archive does not answer."""
        since_ns = max(self._began_ns, max(self._known.values(), default=0)) - OVERLAP_NS
        try:
            found = await asyncio.to_thread(self._archive.arrived, since_ns, self._known, MOST_AT_ONCE)
        except ArchiveError:
            return []
        # What was stored before anybody listened is known, and no news.
        self._live.tell([each.served() for each in found if each.stored_ns >= self._began_ns])
        for each in found:
            self._known[each.position.spool_id, each.position.sequence] = each.stored_ns
        self._known = {key: stored_ns for key, stored_ns in self._known.items() if stored_ns >= since_ns}
        return found
