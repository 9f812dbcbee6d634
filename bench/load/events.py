"""Events: server-sent events on many connections, and how long each took from the upstream to here.

The upstream writes into each event when it was sent, by the clock that all processes of a machine share.
"""

import asyncio
import time
from typing import Final, cast

from bench.load.measuring import Figures, LoadError, percentile, run
from bench.model import SENT

_REQUEST: Final = b"GET /events HTTP/1.1\r\nHost: model\r\nAccept: text/event-stream\r\n\r\n"
_WARM_SECONDS: Final = 0.5
_GRACE_SECONDS: Final = 10.0


def events(port: int, seconds: float, streams: int) -> Figures:
    """Delay of events, and how many came a second: 50 for each stream, where the system keeps up."""
    return run(_put_on(port, seconds, streams), seconds + _GRACE_SECONDS)


class Delays:
    """What all streams have seen since `begin`."""

    def __init__(self) -> None:
        self.ns: list[int] = []
        self.counting = False
        self.broken = 0


class _Stream(asyncio.Protocol):
    """One connection; an event may be cut anywhere."""

    def __init__(self, delays: Delays) -> None:
        self._delays = delays
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        self._rest = take_events(self._rest + data, time.monotonic_ns(), self._delays)

    def connection_lost(self, _: Exception | None) -> None:
        self._delays.broken += 1


def take_events(data: bytes, now: int, delays: Delays) -> bytes:
    """Count the events whose time has arrived at `now`; returns what belongs to the next one."""
    end = 0
    for match in SENT.finditer(data):
        end = match.end()
        if delays.counting:
            delays.ns.append(now - int(match[1]))
    return data[end:]


async def _put_on(port: int, seconds: float, streams: int) -> Figures:
    delays = Delays()
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(lambda: _Stream(delays), "127.0.0.1", port))[1] for _ in range(streams)
    ]
    await asyncio.sleep(_WARM_SECONDS)
    delays.counting = True
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    delays.counting = False
    took = time.perf_counter() - began
    broken = delays.broken
    for stream in opened:
        stream.transport.abort()
    if broken or not delays.ns:
        raise LoadError(f"{broken} of {streams} streams ended, {len(delays.ns)} events came")
    ascending = sorted(delays.ns)
    shares = {f"event_delay_p{share}_us": percentile(ascending, share) / 1000 for share in (50, 99)}
    return {"events_per_second": len(ascending) / took, **shares}
