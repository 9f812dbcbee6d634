"""Listener: accepts clients from one inherited listening socket and dials the model for each.

Touches the listening socket, new sockets and the event loop. Several relays may share the socket: each takes
one client at a time, so that they share the work. It promises: a client whose model can't be reached gets
what a refused connection gives, a reset; running out of descriptors or memory pauses accepting instead of
spinning; after `stop` no client is accepted, and those that wait stay queued for the other relays.
"""

import asyncio
import socket
from time import monotonic_ns
from typing import Final

from infertap.settings import Address, Endpoint
from sidecar.event_log import log_event
from sidecar.relay.connection import Connection
from sidecar.relay.resets import reset_socket
from sidecar.relay.traffic import Traffic
from sidecar.tap import ConnectionFacts

DIAL_SECONDS: Final = 30.0
# How long accepting pauses where accept(2) fails for want of descriptors or memory.
EXHAUSTED_SECONDS: Final = 0.1


class Listener:
    """One listening socket of one route."""

    def __init__(self, listening: socket.socket, route: int, upstream: Endpoint, traffic: Traffic) -> None:
        self._listening = listening
        self._route = route
        self._upstream = upstream
        self._traffic = traffic
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._accepting = False

    @property
    def opening(self) -> int:
        """How many clients have been accepted whose model has not answered yet."""
        return len(self._opening)

    def start(self) -> None:
        """Accept from now on."""
        self._listening.setblocking(False)
        self._pause = None
        self._accepting = True
        self._loop.add_reader(self._listening, self._accept)

    def stop(self) -> None:
        """Accept no more. Clients accepted before go on."""
        if self._pause is not None:
            self._pause.cancel()
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._listening)

    def _accept(self) -> None:
        try:
            accepted, peer = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another relay was faster, or the client has gone
        except OSError as error:
            self._pause_accepting(error)
            return
        accepted.setblocking(False)
        task = self._loop.create_task(self._open(accepted, peer, monotonic_ns()))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _pause_accepting(self, error: OSError) -> None:
        log_event("relay", "accepting paused", errno=error.errno)
        self.stop()
        self._pause = self._loop.call_later(EXHAUSTED_SECONDS, self.start)

    async def _open(self, accepted: socket.socket, peer: tuple[str, int] | str, accepted_at: int) -> None:
        connection = Connection(self._traffic)
        self._traffic.accepted()
        try:
            await self._dial(connection)
        except (OSError, TimeoutError):
            self._traffic.refused()
            reset_socket(accepted)
            return
        connected_at = monotonic_ns()
        self._traffic.opened(connection)
        try:
            await self._loop.connect_accepted_socket(lambda: connection.client, accepted)
        except OSError:  # the client has gone meanwhile
            accepted.close()
            connection.abandon()
            return
        # A Unix peer has no address.
        client = "" if isinstance(peer, str) else str(Address(*peer[:2]))
        connection.join(ConnectionFacts(self._route, client, accepted_at, connected_at))

    async def _dial(self, connection: Connection) -> None:
        upstream = self._upstream
        async with asyncio.timeout(DIAL_SECONDS):
            if isinstance(upstream, Address):
                await self._loop.create_connection(lambda: connection.model, upstream.host, upstream.port)
            else:
                await self._loop.create_unix_connection(lambda: connection.model, upstream.path)
