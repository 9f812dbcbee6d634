"""Draining: how a relay ends without harm to calls.

Touches connections, listeners and the loop's clock. In order:

    1. Clients that had connected before the parent closed the door are accepted, all of them.
    2. Every connection, new ones too, is asked to go elsewhere: GOAWAY, or `Connection: close`.
    3. A connection ends once it is over by itself, or has been idle for IDLE_SECONDS: a client that sends on
       it all the time has been told in an answer by then, and one that does not is unlikely to send just now.
    4. When the time is up, or a second signal comes, idle ones are ended and open calls broken off: half an
       answer must not look like a whole one.

A connection whose bytes are not followed is never idle: nobody knows whether a call is open.
"""

import asyncio
from time import monotonic_ns
from typing import Final

from sidecar.relay.listener import Listener
from sidecar.relay.traffic import Traffic

IDLE_SECONDS: Final = 1.0
# How long accepting goes on where nobody closes the door: a relay that is told to end alone.
DOOR_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.05


async def accept_the_rest(listeners: list[Listener]) -> None:
    """Accept until the parent has shut the listening sockets, at most for DOOR_SECONDS."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DOOR_SECONDS
    while any(listener.is_open for listener in listeners) and loop.time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(_POLL_SECONDS / 5)
    for listener in listeners:
        listener.stop()


def ask_to_leave(traffic: Traffic) -> None:
    """Ask every client, and those that still come, to go elsewhere."""
    traffic.is_draining = True
    now = monotonic_ns()
    for connection in list(traffic.connections):
        connection.drain(now)


async def finish(traffic: Traffic, seconds: float, hurry: asyncio.Event) -> int:
    """End each connection when it is idle, all of them after `seconds`; returns how many calls were cut."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    idle = min(IDLE_SECONDS, seconds / 4)
    while (traffic.connections or traffic.opening) and loop.time() < deadline and not hurry.is_set():
        _end_idle(traffic, int(idle * 1e9))
        await asyncio.sleep(_POLL_SECONDS)
    cut = traffic.row["open"]
    for connection in list(traffic.connections):
        connection.leave()
    await asyncio.sleep(_POLL_SECONDS)  # closing happens in the loop's next turns
    return cut


def _end_idle(traffic: Traffic, idle_ns: int) -> None:
    now = monotonic_ns()
    for connection in list(traffic.connections):
        if not connection.closing and connection.is_idle_since(now - idle_ns):
            connection.end_idle(now)
