"""Following: listeners hear of what others store, each record once."""

import asyncio
import time
from collections.abc import Container

import pytest

from infertap import v1
from storage.archive import ArchiveError, Position, Stored
from storage.live import following
from storage.live.following import Following
from storage.live.live import Live

SPOOL = b"s" * 16


class Shelf:
    """A shared archive of which only what arrives matters."""

    def __init__(self) -> None:
        self.stored: list[Stored] = []
        self.is_away = False

    def put(self, sequence: int, stored_ns: int) -> None:
        self.stored.append(
            Stored(Position(0, 0, SPOOL, sequence), v1.Record().SerializeToString(), stored_ns)
        )

    def arrived(self, since_ns: int, known: Container[tuple[bytes, int]], most: int) -> list[Stored]:
        if self.is_away:
            raise ArchiveError("away")
        found = [
            each
            for each in self.stored
            if each.stored_ns >= since_ns and (each.position.spool_id, each.position.sequence) not in known
        ]
        return sorted(found, key=lambda each: each.stored_ns)[:most]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "EVERY_SECONDS", 0.01)


async def test_each_once_however_late_it_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what is seen after what was stored later, and more than one look takes; nothing from before."""
    monkeypatch.setattr(following, "MOST_AT_ONCE", 3)
    shelf, live = Shelf(), Live()
    shelf.put(1, time.time_ns() - 5_000_000_000)
    running = asyncio.create_task(Following(shelf, live).run())
    try:
        with live.listening() as listener:
            begun = time.time_ns()
            for sequence in range(2, 12):
                shelf.put(sequence, begun + 1000 + sequence)
            heard = [(await asyncio.wait_for(anext(listener), 10)).sequence for _ in range(10)]
            shelf.put(12, begun + 500)
            heard.append((await asyncio.wait_for(anext(listener), 10)).sequence)
            assert heard == list(range(2, 13))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(listener), 0.1)
    finally:
        running.cancel()


async def test_archive_that_is_away() -> None:
    """What is stored meanwhile is told when it is back."""
    shelf, live = Shelf(), Live()
    shelf.is_away = True
    running = asyncio.create_task(Following(shelf, live).run())
    try:
        with live.listening() as listener:
            shelf.put(1, time.time_ns() + 1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(listener), 0.1)
            shelf.is_away = False
            assert (await asyncio.wait_for(anext(listener), 10)).sequence == 1
    finally:
        running.cancel()
