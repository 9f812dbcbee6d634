"""Under way: what one stream has sent that is not answered yet, in order. Touches nothing; for one loop.

Its sender may send without ever reading an answer: so it is bounded, by number and by weight, and whoever
would put more waits. What is told to the stream meanwhile stands in the same order, and weighs nothing.
"""

import asyncio
from typing import Final, Generic, TypeVar

from storage.ingest.room import Room

MOST: Final = 16
# One for each entry, which may need an answer of its own, and for each so many bytes of what has none.
MOST_WEIGHT: Final = 20_000
BYTES_OF_ONE: Final = 512

# What needs no answer comes once a second, and some more of it at the end.
_AT_ONCE: Final = 10.0
_A_SECOND: Final = 4.0

T = TypeVar("T")


class Pace:
    """How fast one stream may tell what needs no answer. Times are monotonic, seconds."""

    def __init__(self) -> None:
        self._held, self._since = _AT_ONCE, 0.0

    def wait(self, now: float) -> float:
        """How long it has to wait until it may tell one more thing."""
        self._held = min(self._held + (now - self._since) * _A_SECOND, _AT_ONCE) - 1
        self._since = now
        return max(-self._held, 0) / _A_SECOND


class UnderWay(Generic[T]):
    """One stream's. What `get` gave counts as answered when `get` is called again."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[tuple[T | None, int]] = asyncio.Queue(MOST)
        self._room = Room(MOST_WEIGHT)
        self._got = 0

    async def make_room(self, weight: int) -> int:
        """Wait until so much may be under way; returns what `put` is to be given."""
        return await self._room.take(weight)

    async def put(self, each: T | None, taken: int = 0) -> None:
        """Let it wait for its answer; None ends the stream."""
        await self._waiting.put((each, taken))

    async def get(self) -> T | None:
        """What is to be answered next."""
        self._room.give_back(self._got)
        self._got = 0
        each, self._got = await self._waiting.get()
        return each

    def left(self) -> list[T | None]:
        """What nobody will answer."""
        found: list[T | None] = []
        while not self._waiting.empty():
            found.append(self._waiting.get_nowait()[0])
        return found
