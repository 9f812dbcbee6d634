"""Asking: runs what reads the archive, few at a time, and ends it when nobody waits for it any more.

On one event loop, with threads of its own, so that queries wait for each other and never hold up what is
written. What is quick (a call, a page) has other threads than what may take long (figures, exports). It
promises: a question ends within the engine when its time is up or its asker is gone; what waits is bounded,
and one caller's is a part of it.
"""

import asyncio
import contextlib
import functools
import os
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeAlias, TypeVar

import grpc
import grpc.aio

from infertap.query import abort_exhausted
from storage.archive import ArchiveError, Interrupt
from storage.identity import caller_of

QUICK_THREADS: Final = 4
LONG_THREADS: Final = 2
MOST_WAITING: Final = 64
# Of a caller who is known, waiting or being answered.
MOST_OF_CALLER: Final = 16
MOST_SECONDS: Final = 60.0
# The engine may be between two statements when it is interrupted: so it is told again.
_AGAIN_SECONDS: Final = 0.05
_NICE: Final = 10

R = TypeVar("R")
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class TooManyQuestionsError(Exception):
    """Others wait already; ask again later."""


class TookTooLongError(Exception):
    """The time was up before there was anything to answer."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"not found out within {seconds:.3g} s: ask for less, by a shorter time range")


class Asking:
    """All questions of one process."""

    def __init__(self, quick: int = QUICK_THREADS, long: int = LONG_THREADS) -> None:
        self._quick = _Lane(quick, "quick")
        self._long = _Lane(long, "long")

    async def ask(
        self, read: Callable[[Interrupt], R], *, seconds: float = MOST_SECONDS, is_long: bool = False
    ) -> R:
        """What `read` returns. Raises what it raises, TooManyQuestionsError and TookTooLongError."""
        interrupt = Interrupt()
        asked = (self._long if is_long else self._quick).submit(read, interrupt)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(seconds, _insist, interrupt, asked)
        try:
            return await asyncio.wrap_future(asked)
        except ArchiveError:
            if interrupt.is_set:
                raise TookTooLongError(seconds) from None
            raise
        except asyncio.CancelledError:
            _insist(interrupt, asked)
            raise
        finally:
            timer.cancel()

    async def answer(
        self,
        context: Context,
        read: Callable[[Interrupt], R],
        *,
        seconds: float = MOST_SECONDS,
        is_long: bool = False,
    ) -> R:
        """As `ask`, for a gRPC call, which ends with the status that fits where there is no answer."""
        try:
            return await self.ask(read, seconds=seconds, is_long=is_long)
        except TookTooLongError as error:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, str(error))
        except TooManyQuestionsError:
            await abort_exhausted(context, "queries", "too many wait already; ask again later")
        except ArchiveError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        raise AssertionError("abort returns never")

    @property
    def under_way(self) -> int:
        """Questions that wait or are being answered."""
        return self._quick.count + self._long.count

    def close(self) -> None:
        """End all questions; returns when the engine is free of them."""
        for lane in (self._quick, self._long):
            lane.close()


class _Lane:
    """Some threads, and what waits for them."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, name, initializer=_yield_to_others)
        self._most = threads + MOST_WAITING
        self._lock = threading.Lock()
        self._asked: dict[Future[Any], Interrupt] = {}
        self._of_caller: Counter[str] = Counter()

    @property
    def count(self) -> int:
        return len(self._asked)

    def submit(self, read: Callable[[Interrupt], R], interrupt: Interrupt) -> "Future[R]":
        """Have it read when there is a thread for it; raises TooManyQuestionsError."""
        caller = caller_of(None).name
        with self._lock:
            if len(self._asked) >= self._most or (caller and self._of_caller[caller] >= MOST_OF_CALLER):
                raise TooManyQuestionsError
            asked = self._threads.submit(_read, read, interrupt)
            self._asked[asked] = interrupt
            self._of_caller[caller] += 1
        asked.add_done_callback(functools.partial(self._ended, caller))
        return asked

    def close(self) -> None:
        with self._lock:
            asked = list(self._asked.items())
        for each, interrupt in asked:
            each.cancel()
            while not each.done():
                interrupt.set()
                threading.Event().wait(_AGAIN_SECONDS)
        self._threads.shutdown()

    def _ended(self, caller: str, asked: "Future[Any]") -> None:
        with self._lock:
            self._asked.pop(asked, None)
            self._of_caller[caller] -= 1
            if not self._of_caller[caller]:
                del self._of_caller[caller]


def _yield_to_others() -> None:
    """This thread gets the processor after those that take in records (sched(7): Linux has it by thread)."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _read(read: Callable[[Interrupt], R], interrupt: Interrupt) -> R:
    if interrupt.is_set:
        raise ArchiveError("the query was ended")
    return read(interrupt)


def _insist(interrupt: Interrupt, asked: "Future[Any]") -> None:
    """Interrupt until it ends."""
    if not asked.done():
        interrupt.set()
        asyncio.get_running_loop().call_later(_AGAIN_SECONDS, _insist, interrupt, asked)
