"""The writer's pace, for archives to which each commit costs more than what is in it."""

import asyncio
import gc
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from storage.archive import ArchiveError, Entry
from storage.ingest.writer import Writer
from storage.live import InFlight, Live
from storage.numbers import Numbers

if TYPE_CHECKING:
    from tests.storage.conftest import Making


class Counting:
    """An archive that keeps how many entries each commit had, and when it was."""

    def __init__(self) -> None:
        self.commits: list[int] = []
        self.times: list[int] = []

    def append(self, entries: Sequence[Entry], stored_ns: int) -> list[Any]:
        self.commits.append(len(entries))
        self.times.append(stored_ns)
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


async def test_each_commit_is_later(making: "Making", monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the clock does, also while storage was down: whoever reads in order of storing misses none."""
    archive = Counting()
    monkeypatch.setattr("storage.ingest.writer.time.time_ns", lambda: 5)
    writer = Writer(archive, Live(), Numbers(), InFlight(), last_ns=100)  # type: ignore[arg-type]
    running = asyncio.create_task(writer.run())
    try:
        for number in (1, 2):
            await writer.write([making.entry(number)])
        assert archive.times == [101, 102]
        assert writer.now() == 102
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_nobody_waits_for_is_let_go(making: "Making") -> None:
    """A batch whose stream is gone before its turn takes no memory, and no place in a commit."""
    archive = Counting()
    writer = Writer(archive, Live(), Numbers(), InFlight())  # type: ignore[arg-type]
    entry = making.entry(1)
    held = sys.getrefcount(entry)
    gone = asyncio.create_task(writer.write([entry]))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    del gone
    await asyncio.sleep(0)
    gc.collect()
    left = sys.getrefcount(entry)
    assert left == held
    running = asyncio.create_task(writer.run())
    try:
        await writer.write([making.entry(2)])
        assert archive.commits == [1]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class Filling(Counting):
    """An archive that takes nothing for a while."""

    is_full = True

    def append(self, entries: Sequence[Entry], stored_ns: int) -> list[Any]:
        if self.is_full:
            raise ArchiveError("disk full")
        return super().append(entries, stored_ns)


async def test_an_archive_that_takes_nothing(making: "Making", capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is acknowledged; it is said once, and once more when it is over."""
    archive = Filling()
    writer = Writer(archive, Live(), Numbers(), InFlight())  # type: ignore[arg-type]
    running = asyncio.create_task(writer.run())
    try:
        for number in (1, 2):
            with pytest.raises(ArchiveError, match="disk full"):
                await writer.write([making.entry(number)])
        archive.is_full = False
        for number in (1, 2):
            await writer.write([making.entry(number)])
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    said = "".join(capfd.readouterr())
    assert said.count("the archive takes nothing") == 1
    assert said.count("the archive takes records again") == 1
