"""Live: who is told of each record as it becomes durable, and of calls in flight as they appear.

On one event loop; nobody is waited for.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from infertap import v1
from storage.live.in_flight import CallInFlight

# Each record is held against what each of them asks for. A known caller has half of them at most.
MOST_LISTENERS: Final = 100
MOST_OF_CALLER: Final = 50
# Records that wait for one listener; one that is slower is cut off, not served with holes.
MOST_WAITING: Final = 10_000
# And their bytes, as they are encoded.
MOST_WAITING_BYTES: Final = 32 << 20
# And those of all listeners; the one with the most is cut off, and loses what waits for it.
MOST_BYTES: Final = 128 << 20


class Listener:
    """One listener's queue: what it hears, until it is cut off and has heard all that it could."""

    def __init__(self) -> None:
        self.is_behind = False
        # None: the end, for who waits.
        self._waiting: asyncio.Queue[tuple[v1.Record, int] | None] = asyncio.Queue(MOST_WAITING)
        self.bytes = 0

    def __aiter__(self) -> "Listener":
        return self

    async def __anext__(self) -> v1.Record:
        """The next record, once there is one."""
        if self.is_behind and self._waiting.empty():
            raise StopAsyncIteration
        if (waited := await self._waiting.get()) is None:
            raise StopAsyncIteration
        record, size = waited
        self.bytes -= size
        return record

    def tell(self, record: v1.Record, size: int) -> None:
        """Let it wait; a listener with too much waiting is cut off, but for one record alone."""
        if self._waiting.full() or (self.bytes and self.bytes + size > MOST_WAITING_BYTES):
            self.is_behind = True
        if not self.is_behind:
            self._waiting.put_nowait((record, size))
            self.bytes += size

    def cut_off(self) -> None:
        """Hear no more, nor what waits."""
        self.is_behind = True
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._waiting.put_nowait(None)
        self.bytes = 0


class Live:
    """All listeners."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._of_caller: Counter[str] = Counter()

    @contextlib.contextmanager
    def listening(self, caller: str = "") -> Iterator[Listener]:
        """A listener that hears of every record from now on; empty: nobody in particular."""
        listener = Listener()
        self._listeners.add(listener)
        self._of_caller[caller] += 1
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            self._of_caller[caller] -= 1
            if not self._of_caller[caller]:
                del self._of_caller[caller]

    def most_for(self, caller: str) -> int:
        """How many listeners there may be, or that caller may have, where there are as many; else 0."""
        if caller and self._of_caller[caller] >= MOST_OF_CALLER:
            return MOST_OF_CALLER
        return MOST_LISTENERS if len(self._listeners) >= MOST_LISTENERS else 0

    @property
    def has_listeners(self) -> bool:
        return bool(self._listeners)

    def tell_in_flight(self, calls: Sequence[CallInFlight], now: int) -> None:
        """These calls have appeared, or are lost; `now` is monotonic."""
        if self._listeners:
            self.tell([call.shown(now) for call in calls])

    def tell(self, records: Sequence[v1.Record]) -> None:
        """These records are durable."""
        for record in records:
            size = record.ByteSize()
            for listener in self._listeners:
                listener.tell(record, size)
            while sum(listener.bytes for listener in self._listeners) > MOST_BYTES:
                max(self._listeners, key=lambda listener: listener.bytes).cut_off()
