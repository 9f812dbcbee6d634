"""Load: wrk and h2load as closed loops, and an open loop of our own, whose calls begin when they are due."""

import asyncio
import contextlib
import re
import subprocess
import time
from collections import deque
from pathlib import Path
from typing import Final

from bench.systems import OTHER_CORE

BODY_BYTES: Final = 1024
PATHS: Final = 10_000
CONNECTIONS: Final = 16
_WRK_SCRIPT: Final = """\
wrk.method = "POST"; wrk.body = string.rep("a", 1024); wrk.headers["Content-Type"] = "text/plain"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("P50 %f P99 %f RPS %f ERR %d\\n", latency:percentile(50), latency:percentile(99),
    summary.requests / summary.duration * 1e6, e.connect + e.read + e.write + e.timeout + e.status))
end
"""
_WRK: Final = re.compile(r"P50 ([\d.]+) P99 ([\d.]+) RPS ([\d.]+) ERR (\d+)")
_H2LOAD_COUNTS: Final = re.compile(r"requests: (\d+) total,.* (\d+) failed")
# nginx answers one call in some thousands with 502 when its kept connections to the upstream turn over.
_MOST_FAILED: Final = 0.002
_H2LOAD: Final = re.compile(r"finished in [^,]+, ([\d.]+) req/s")


class LoadError(Exception):
    """The load could not be put on as meant: calls failed."""


def h1_closed(directory: Path, port: int, seconds: float) -> dict[str, float]:
    """HTTP/1.1 POST of 1 KiB on 16 connections, each with one call at a time."""
    script = directory / "post.lua"
    script.write_text(_WRK_SCRIPT)
    url = f"http://127.0.0.1:{port}/v2/models/iris/infer"
    said = _pinned(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(round(seconds), 1)}s", "-s", str(script), url])
    match = _WRK.search(said)
    if match is None or int(match[4]):
        raise LoadError(f"wrk: {said[-300:]}")
    return {"requests_per_second": float(match[3]), "p50_us": float(match[1]), "p99_us": float(match[2])}


def h2_closed(directory: Path, port: int, seconds: float) -> dict[str, float]:
    """HTTP/2 POST of 1 KiB on 4 connections, 16 calls at a time on each, over 10,000 paths."""
    body, paths, log = directory / "body", directory / "paths", directory / "h2load.log"
    body.write_bytes(b"a" * BODY_BYTES)
    paths.write_text(
        "".join(f"http://127.0.0.1:{port}/v2/models/iris/{number:05d}/infer\n" for number in range(PATHS))
    )
    log.unlink(missing_ok=True)
    said = _pinned(
        [
            *("h2load", "-D", str(max(round(seconds), 1)), "-c4", "-m16", "-d", str(body), "-i", str(paths)),
            *("--header", "content-type: text/plain", "--log-file", str(log)),
        ]
    )
    match = _H2LOAD.search(said)
    counts = _H2LOAD_COUNTS.search(said)
    if match is None or counts is None or int(counts[2]) > _MOST_FAILED * int(counts[1]):
        raise LoadError(f"h2load: {said[-600:]}")
    times = sorted(int(line.rsplit("\t", 1)[1]) for line in log.read_text().splitlines())
    return {
        "requests_per_second": float(match[1]),
        "p50_us": percentile(times, 50),
        "p99_us": percentile(times, 99),
    }


def percentile(ascending: list[int], share: float) -> float:
    """The value that `share` per cent are not above; 0 of none."""
    if not ascending:
        return 0.0
    return float(ascending[min(int(len(ascending) * share / 100), len(ascending) - 1)])


def _pinned(command: list[str]) -> str:
    done = subprocess.run(
        ["taskset", "-c", str(OTHER_CORE), *command], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise LoadError(f"{command[0]}: {done.stderr.strip()[-300:] or done.stdout.strip()[-300:]}")
    return done.stdout


# -- the open loop

_REQUEST: Final = (
    b"POST /v2/models/iris/infer HTTP/1.1\r\nHost: model\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 1024\r\n\r\n" + b"a" * BODY_BYTES
)
_LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class _Caller(asyncio.Protocol):
    """One connection, one call at a time."""

    def __init__(self, loop: "_OpenLoop") -> None:
        self._loop = loop
        self._received = b""
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def call(self, due: float) -> None:
        self.due = due
        self.transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        match = _LENGTH.search(head) if blank else None
        if match is not None and len(body) >= int(match[1]):
            self._received = b""
            self._loop.answered(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._loop.failed += 1


class _OpenLoop:
    """Calls that are due at fixed times, whether those before have been answered or not."""

    def __init__(self) -> None:
        self.idle: deque[_Caller] = deque()
        self.waiting: deque[float] = deque()
        self.times: list[int] = []
        self.failed = 0
        self._wanted = -1
        self._done = asyncio.Event()

    def answered(self, caller: _Caller) -> None:
        self.times.append(int((time.perf_counter() - caller.due) * 1e6))
        if len(self.times) == self._wanted:
            self._done.set()
        if self.waiting:
            caller.call(self.waiting.popleft())
        else:
            self.idle.append(caller)

    async def all_answered(self, count: int) -> None:
        """Wait until `count` calls have been answered."""
        self._wanted = count
        if len(self.times) < count:
            await self._done.wait()

    def begin(self, due: float) -> None:
        if self.idle:
            self.idle.popleft().call(due)
        else:
            self.waiting.append(due)


async def h1_open(port: int, rate: float, seconds: float) -> dict[str, float]:
    """`rate` calls a second on 64 connections; latency counts from when a call was due."""
    open_loop = _OpenLoop()
    loop = asyncio.get_running_loop()
    for _ in range(64):
        _, caller = await loop.create_connection(lambda: _Caller(open_loop), "127.0.0.1", port)
        open_loop.idle.append(caller)
    began = time.perf_counter()
    count = int(rate * seconds)
    for number in range(count):
        due = began + number / rate
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        open_loop.begin(due)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await open_loop.all_answered(count)
    took = time.perf_counter() - began
    if open_loop.failed or len(open_loop.times) < count:
        raise LoadError(f"{count - len(open_loop.times)} of {count} calls were not answered")
    for caller in open_loop.idle:
        caller.transport.close()
    times = sorted(open_loop.times)
    return {
        "requests_per_second": count / took,
        "p50_us": percentile(times, 50),
        "p99_us": percentile(times, 99),
    }
