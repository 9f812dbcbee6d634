"""Bodies of 16 MiB: four connections, each sending or fetching one after the other."""

import asyncio
import re
import time
from typing import Final, Literal, cast

from bench.load.measuring import Figures, LoadError, latencies, run
from bench.model import BODY_BYTES

CONNECTIONS: Final = 4
_GRACE_SECONDS: Final = 30.0
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_UP_HEAD: Final = (
    b"POST /body HTTP/1.1\r\nHost: model\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Length: %d\r\n\r\n" % BODY_BYTES
)
_DOWN: Final = b"GET /body HTTP/1.1\r\nHost: model\r\n\r\n"
_BODY: Final = bytes(BODY_BYTES)
Direction = Literal["up", "down"]


def bodies(port: int, seconds: float, direction: Direction) -> Figures:
    """Bytes of bodies per second, and how long each took."""
    return run(_put_on(port, seconds, direction), seconds + _GRACE_SECONDS)


class _Caller(asyncio.BufferedProtocol):
    """One connection; a call is over when its response is complete."""

    def __init__(self) -> None:
        self._buffer = bytearray(1 << 18)
        self._head = b""
        self._missing = 0
        self._answered: asyncio.Future[None] | None = None
        self._lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._lost.set()
        self._end(LoadError(f"a connection broke: {error}"))

    async def call(self, direction: Direction) -> None:
        if self._lost.is_set():
            raise LoadError("a connection was closed")
        self._answered = asyncio.get_running_loop().create_future()
        self.transport.write(_DOWN if direction == "down" else _UP_HEAD)
        if direction == "up":
            self.transport.write(_BODY)
        await self._answered

    async def end(self) -> None:
        """Close, and be told so: a loop that ends before leaves an open transport."""
        self.transport.abort()
        await self._lost.wait()

    def get_buffer(self, _: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        if self._missing:
            self._read_body(count)
            return
        self._head += self._buffer[:count]
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if end:
            self._head = b""
            self._begin(head, len(rest))

    def _begin(self, head: bytes, of_body: int) -> None:
        length = _LENGTH.search(head)
        if b" 200 " not in head[:16] or length is None:
            self._end(LoadError(f"answered by {head[:100]!r}"))
        else:
            self._missing = int(length[1])
            self._read_body(of_body)

    def _read_body(self, count: int) -> None:
        self._missing -= count
        if not self._missing:
            self._end(None)

    def _end(self, error: LoadError | None) -> None:
        if self._answered is None or self._answered.done():
            return
        if error is None:
            self._answered.set_result(None)
        else:
            self._answered.set_exception(error)


async def _put_on(port: int, seconds: float, direction: Direction) -> Figures:
    loop = asyncio.get_running_loop()
    callers: list[_Caller] = []
    times: list[float] = []
    try:
        for _ in range(CONNECTIONS):
            callers.append((await loop.create_connection(_Caller, "127.0.0.1", port))[1])
        began = time.perf_counter()
        await asyncio.gather(*(_call_until(began + seconds, caller, direction, times) for caller in callers))
        took = time.perf_counter() - began
    finally:
        for caller in callers:
            await caller.end()
    count = float(len(times))
    return {
        "requests_per_second": count / took,
        "bytes_per_second": count * BODY_BYTES / took,
        **latencies(times),
        "calls": count,
    }


async def _call_until(end: float, caller: _Caller, direction: Direction, times: list[float]) -> None:
    while (begins := time.perf_counter()) < end:
        await caller.call(direction)
        times.append((time.perf_counter() - begins) * 1e6)
