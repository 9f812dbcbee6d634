"""Live: who is told of each record as it becomes durable. On one event loop; nobody is waited for."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Final

from infertap import v1

# Records that wait for one listener; one that is slower is cut off, not served with holes.
MOST_WAITING: Final = 10_000


class Listener:
    """One listener's queue."""

    def __init__(self) -> None:
        self.records: asyncio.Queue[v1.Record] = asyncio.Queue(MOST_WAITING)
        self.is_behind = False


class Live:
    """All listeners."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()

    @contextlib.contextmanager
    def listening(self) -> Iterator[Listener]:
        """A listener that hears of every record from now on."""
        listener = Listener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    @property
    def has_listeners(self) -> bool:
        return bool(self._listeners)

    def tell(self, records: Sequence[v1.Record]) -> None:
        """These records are durable."""
        for listener in self._listeners:
            for record in records:
                if listener.is_behind:
                    break
                try:
                    listener.records.put_nowait(record)
                except asyncio.QueueFull:
                    listener.is_behind = True
