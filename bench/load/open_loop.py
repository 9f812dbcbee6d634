"""Open loop: calls begin when they are due, whether those before have been answered or not.

So a system that stalls, or keeps the load from running, is charged for every call that fell due meanwhile (no
coordinated omission). Calls fall due by timerfd(2), as event loops' own timers are a millisecond coarse.
"""

import asyncio
import ctypes
import os
import re
import sys
import time
from collections import deque
from typing import Final, cast

from bench.load.measuring import Figures, LoadError, latencies, run

CONNECTIONS: Final = 64
_GRACE_SECONDS: Final = 5.0
_REQUEST: Final = (
    b"POST /v2/models/iris/infer HTTP/1.1\r\nHost: model\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 1024\r\n\r\n" + b"a" * 1024
)
_LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def h1_open(port: int, seconds: float, rate: float) -> Figures:
    """`rate` calls a second of 1 KiB on 64 connections; latency counts from when a call was due."""
    return run(_put_on(port, seconds, rate), seconds + 2 * _GRACE_SECONDS)


class _Caller(asyncio.Protocol):
    """One connection, one call at a time."""

    def __init__(self, calls: "_Calls") -> None:
        self._calls = calls
        self._received = b""
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def call(self, due: float) -> None:
        self.due = due
        self.transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        match = _LENGTH.search(head) if blank else None
        if match is not None and len(body) >= int(match[1]):
            self._received = b""
            self._calls.answered(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._calls.failed += 1


class _Calls:
    """Those that wait for a connection, and how long each took."""

    def __init__(self, count: int) -> None:
        self.idle: deque[_Caller] = deque()
        self.times: list[float] = []
        self.failed = 0
        self.all_answered = asyncio.Event()
        self._waiting: deque[float] = deque()
        self._count = count

    def begin(self, due: float) -> None:
        if self.idle:
            self.idle.popleft().call(due)
        else:
            self._waiting.append(due)

    def answered(self, caller: _Caller) -> None:
        self.times.append((time.perf_counter() - caller.due) * 1e6)
        if len(self.times) == self._count:
            self.all_answered.set()
        if self._waiting:
            caller.call(self._waiting.popleft())
        else:
            self.idle.append(caller)


async def _put_on(port: int, seconds: float, rate: float) -> Figures:
    count = int(rate * seconds)
    calls = _Calls(count)
    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS):
        _, caller = await loop.create_connection(lambda: _Caller(calls), "127.0.0.1", port)
        calls.idle.append(caller)
    began = await _begin_when_due(calls, rate, count)
    try:
        async with asyncio.timeout(_GRACE_SECONDS):
            await calls.all_answered.wait()
    except TimeoutError:
        raise LoadError(f"{count - len(calls.times)} of {count} calls were not answered") from None
    took = time.perf_counter() - began
    if calls.failed:
        raise LoadError(f"{calls.failed} connections broke")
    for caller in calls.idle:
        caller.transport.close()
    return {"requests_per_second": count / took, **latencies(calls.times), "calls": float(count)}


async def _begin_when_due(calls: _Calls, rate: float, count: int) -> float:
    loop, all_begun = asyncio.get_running_loop(), asyncio.Event()
    began = time.perf_counter()
    begun = 0

    def fell_due() -> None:
        nonlocal begun
        due = min(begun + int.from_bytes(os.read(timer, 8), sys.byteorder), count)
        for number in range(begun, due):
            calls.begin(began + (number + 1) / rate)
        begun = due
        if begun == count:
            all_begun.set()

    timer = _periodic(1 / rate)
    loop.add_reader(timer, fell_due)
    try:
        await all_begun.wait()
    finally:
        loop.remove_reader(timer)
        os.close(timer)
    return began


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("first", _Timespec))


def _periodic(seconds: float) -> int:
    """A timerfd whose reads tell how often `seconds` have passed (os has it from Python 3.13 on)."""
    libc = ctypes.CDLL(None, use_errno=True)
    timer = int(libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
    every = _Timespec(int(seconds), int(seconds % 1 * 1e9))
    if timer < 0 or libc.timerfd_settime(timer, 0, ctypes.byref(_Itimerspec(every, every)), None):
        raise OSError(ctypes.get_errno(), "timerfd")
    return timer
