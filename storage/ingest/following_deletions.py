"""Following deletions: tells connected spools what other storage processes deleted in an archive they share.

Touches the archive, the wall clock and one event loop. There is no channel between the processes: while
spools are connected, the archive is asked every few seconds what of them was deleted on request lately. A
deletion may be seen late, when its storage's clock is behind or its insert took long; so each look goes back
`OVERLAP_NS`. It promises: a spool hears of a deletion within some seconds, whichever storage was asked for
it; of one that is missed it hears when it connects again.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

from storage.archive import ArchiveError, Range, SharedArchive
from storage.ingest.forgetting import Forgetting

EVERY_SECONDS: Final = 5.0
OVERLAP_NS: Final = 60_000_000_000


class FollowingDeletions:
    """What has been told; one for each process."""

    def __init__(self, archive: SharedArchive, forgetting: Forgetting) -> None:
        self._archive = archive
        self._forgetting = forgetting
        self._since_ns = time.time_ns()
        # Of the last look: what is found again is no news.
        self._told: Mapping[bytes, Sequence[Range]] = {}

    async def run(self) -> None:
        """Look and tell, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Tell what is new; nothing while the archive does not answer, and all of it afterwards."""
        now_ns, since_ns, spools = time.time_ns(), self._since_ns - OVERLAP_NS, self._forgetting.spools
        try:
            found = await asyncio.to_thread(self._archive.deleted_since, since_ns, spools)
        except ArchiveError:
            return
        news = {spool: ranges for spool, ranges in found.items() if self._told.get(spool) != ranges}
        self._since_ns, self._told = now_ns, found
        await self._forgetting.tell(news)
