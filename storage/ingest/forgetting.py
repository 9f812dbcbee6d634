"""Forgetting: tells connected spools what was deleted on request, so that they drop what they retain of it.

On one event loop. Whoever is not connected, or does not take it now, hears of it when it connects again.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from infertap import v1
from storage.archive import Range
from storage.ingest.under_way import UnderWay

# Ranges in one message: as many as fit well into one of gRPC's.
_MOST_RANGES: Final = 20_000
_TELL_SECONDS: Final = 5.0


def forget_messages(ranges: Sequence[Range]) -> Iterator[v1.Forget]:
    """What a spool is told of these."""
    for start in range(0, len(ranges), _MOST_RANGES):
        some = ranges[start : start + _MOST_RANGES]
        yield v1.Forget(ranges=[v1.SequenceRange(first=first, last=last) for first, last in some])


class Forgetting:
    """The streams that can be told."""

    def __init__(self) -> None:
        self._streams: dict[bytes, list[UnderWay[Any]]] = {}
        self._telling: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def listening(self, spool_id: bytes, stream: UnderWay[Any]) -> Iterator[None]:
        """What is told to that spool is put into `stream`, for as long."""
        streams = self._streams.setdefault(spool_id, [])
        streams.append(stream)
        try:
            yield
        finally:
            streams.remove(stream)
            if not streams:
                self._streams.pop(spool_id, None)

    @property
    def spools(self) -> list[bytes]:
        """Whose streams are here."""
        return list(self._streams)

    async def tell(self, spools: Mapping[bytes, Sequence[Range]]) -> None:
        """These sequences were deleted."""
        async with asyncio.TaskGroup() as telling:
            for spool_id, ranges in spools.items():
                for stream in self._streams.get(spool_id, ()):
                    telling.create_task(_put(stream, ranges))

    def from_threads(
        self, loop: asyncio.AbstractEventLoop
    ) -> Callable[[Mapping[bytes, Sequence[Range]]], None]:
        """What any thread may call to have `tell` done, soon, on the loop."""

        def told(spools: Mapping[bytes, Sequence[Range]]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it all streams
                loop.call_soon_threadsafe(self._begin_telling, spools)

        return told

    def _begin_telling(self, spools: Mapping[bytes, Sequence[Range]]) -> None:
        telling = asyncio.create_task(self.tell(spools))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)


async def _put(stream: UnderWay[Any], ranges: Sequence[Range]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_TELL_SECONDS):
            for message in forget_messages(ranges):
                await stream.put(message)
