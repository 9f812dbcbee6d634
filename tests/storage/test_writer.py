"""The writer's pace, for archives to which each commit costs more than what is in it."""

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from storage.archive import Entry
from storage.in_flight import InFlight
from storage.live import Live
from storage.numbers import Numbers
from storage.writer import Writer

if TYPE_CHECKING:
    from tests.storage.conftest import Making


class Counting:
    """An archive that keeps how many entries each commit had."""

    def __init__(self) -> None:
        self.commits: list[int] = []

    def append(self, entries: Sequence[Entry], stored_ns: int) -> list[Any]:
        self.commits.append(len(entries))
        return []


async def test_small_commits_keep_their_distance(making: "Making") -> None:
    """What comes in between is one commit; a full one waits for nobody."""
    archive = Counting()
    writer = Writer(archive, Live(), Numbers(), InFlight(), pace_seconds=0.2)  # type: ignore[arg-type]
    running = asyncio.create_task(writer.run())
    began = time.monotonic()
    try:
        await writer.write([making.entry(1)])
        await asyncio.gather(*(writer.write([making.entry(number)]) for number in range(2, 22)))
        assert time.monotonic() - began >= 0.2
        assert archive.commits == [1, 20]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
