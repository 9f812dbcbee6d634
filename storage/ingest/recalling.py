"""Recalling: ends the streams of spools, so that each connects again and is told anew what storage has.

On one event loop. It is what becomes of connected spools when a file that could not be read was set aside:
what that file had received is forgotten, and they may retain it.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

from infertap.identity import end_call

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
_WHY: Final = "storage no longer has all that it had: connect again"


class Recalling:
    """The streams that can be ended."""

    def __init__(self) -> None:
        self._streams: dict[asyncio.Task[Any], Context] = {}
        self._endings: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def listening(self, context: Context) -> Iterator[None]:
        """The stream that the running task serves can be ended, for as long. Begin it before the archive is
        asked what it has received.
        """
        task = asyncio.current_task()
        assert task is not None
        self._streams[task] = context
        try:
            yield
        finally:
            self._streams.pop(task, None)

    async def recall(self) -> None:
        """End all streams; those that take no answers are not waited for."""
        for task, context in list(self._streams.items()):
            ending = asyncio.create_task(end_call(context, task, grpc.StatusCode.UNAVAILABLE, _WHY))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)
