"""Listener: accepts clients from one inherited listening socket and dials the model for each.

Touches the listening socket, new sockets and the event loop. Several relays may share the socket: each takes
one client at a time, so that they share the work. It promises: a client whose model can't be reached gets
what a refused connection gives, a reset; running out of descriptors or memory pauses accepting instead of
spinning; after `stop` no client is accepted, and those that wait stay queued for the other relays.

The model is dialled first, but where the client speaks TLS: then what it chose by ALPN is asked of the model.
"""

import asyncio
import socket
from time import monotonic_ns
from typing import Final

from infertap.settings import Address
from sidecar.event_log import log_event
from sidecar.relay.connection import Connection
from sidecar.relay.dialling import Dialler, alpn_choice
from sidecar.relay.resets import reset_socket, reset_transport
from sidecar.relay.traffic import Traffic
from sidecar.tap import ConnectionFacts
from sidecar.tls import HANDSHAKE_SECONDS, ServerContexts

# How long accepting pauses where accept(2) fails for want of descriptors or memory.
EXHAUSTED_SECONDS: Final = 0.1


class Listener:
    """One listening socket of one route."""

    def __init__(
        self,
        listening: socket.socket,
        route: int,
        dialler: Dialler,
        traffic: Traffic,
        tls: ServerContexts | None = None,
    ) -> None:
        """With `tls`, clients of this socket speak TLS."""
        self._listening = listening
        self._route = route
        self._dialler = dialler
        self._tls = tls
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
        opened = await (self._open_plain if self._tls is None else self._open_tls)(connection, accepted)
        if opened:
            # A Unix peer has no address.
            client = "" if isinstance(peer, str) else str(Address(*peer[:2]))
            connection.join(ConnectionFacts(self._route, client, accepted_at, connection.connected_at))

    async def _open_plain(self, connection: Connection, accepted: socket.socket) -> bool:
        if not await self._dial(connection, None):
            reset_socket(accepted)
            return False
        try:
            await self._loop.connect_accepted_socket(lambda: connection.client, accepted)
        except OSError:  # the client has gone meanwhile
            accepted.close()
            connection.abandon()
            return False
        return True

    async def _open_tls(self, connection: Connection, accepted: socket.socket) -> bool:
        assert self._tls is not None
        try:
            context = self._tls.context(await self._dialler.protocols())
            await self._loop.connect_accepted_socket(
                lambda: connection.client, accepted, ssl=context, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except (OSError, TimeoutError):  # TLS errors are OSErrors
            self._traffic.not_greeted()
            reset_socket(accepted)
            return False
        if not await self._dial(connection, alpn_choice(connection.client.transport)):
            reset_transport(connection.client.transport)
            return False
        return True

    async def _dial(self, connection: Connection, protocol: str | None) -> bool:
        try:
            await self._dialler.dial(lambda: connection.model, protocol)
        except (OSError, TimeoutError):
            self._traffic.refused()
            return False
        connection.connected_at = monotonic_ns()
        self._traffic.opened(connection)
        return True
