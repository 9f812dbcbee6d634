"""Listener: accepts clients from one inherited listening socket and dials the model for each.

Touches the listening socket, new sockets and the event loop. Several relays may share the socket: each takes
one client at a time, so that they share the work. It promises: a client whose model can't be reached gets
what a refused connection gives, a reset; too many clients, or no descriptors, pause accepting instead of
spinning, and those that wait stay queued; after `stop` no client is accepted.

The model is dialled first, but where the client speaks TLS: then what it chose by ALPN is asked of the model.
A client that connects and sends nothing is not closed for it: the model might have waited, and so does the
relay. It costs CONNECTION_BYTES at most, and counts for INFERTAP_MAX_CONNECTIONS. One that does not finish
its TLS handshake is ended after HANDSHAKE_SECONDS, or when its place is needed.
"""

import asyncio
import errno
import socket
from time import monotonic_ns
from typing import Final

from infertap.settings import Address, Endpoint
from sidecar.event_log import log_event
from sidecar.relay.connection import Connection
from sidecar.relay.dialling import Dialler, alpn_choice
from sidecar.relay.redirect import NotRedirectedError
from sidecar.relay.resets import reset_socket, reset_transport
from sidecar.relay.traffic import HALF_OPEN_MAX, Traffic
from sidecar.relay.waiting import waiting_since
from sidecar.tap import ConnectionFacts
from sidecar.tls import HANDSHAKE_SECONDS, ServerContexts

# How long accepting pauses where no client can be taken in.
EXHAUSTED_SECONDS: Final = 0.1
# The same thing is said again only after so long.
_SAID_SECONDS: Final = 10.0
_NOT_REDIRECTED: Final = "client was not redirected here: reset"
_LOOP: Final = "it is this relay: the rules must leave out what it sends itself"
# Clients in the TLS handshake beyond this many make the oldest of them give way.
GREETING_MAX: Final = HALF_OPEN_MAX // 2


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
        self._tasks: set[asyncio.Task[None]] = set()
        # Those in the TLS handshake, the oldest first.
        self._greeting: dict[asyncio.Task[None], None] = {}
        self._pause: asyncio.TimerHandle | None = None
        self._accepting = False
        self._said: dict[str, float] = {}

    @property
    def is_open(self) -> bool:
        """Clients may still come: accepting goes on, or is paused."""
        return self._accepting or self._pause is not None

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
            self._pause = None
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._listening)

    def _accept(self) -> None:
        if self._traffic.is_full():
            self._pause_accepting("too many clients")
            return
        try:
            accepted, peer = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another relay was faster, or the client has gone
        except OSError as error:
            if error.errno == errno.EINVAL:
                self.stop()  # the parent has closed the door: accept(2), not listening
            else:
                self._pause_accepting(error.strerror or "")
            return
        accepted.setblocking(False)
        task = self._loop.create_task(self._open(accepted, peer, monotonic_ns()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _pause_accepting(self, reason: str) -> None:
        self._traffic.row.add("accepting_paused")
        self._say("accepting paused", reason)
        self.stop()
        self._pause = self._loop.call_later(EXHAUSTED_SECONDS, self.start)

    def _say(self, event: str, reason: str) -> None:
        now = self._loop.time()
        if now - self._said.get(event, -_SAID_SECONDS) >= _SAID_SECONDS:
            self._said[event] = now
            log_event("relay", event, route=self._route, reason=reason)

    # -- one client

    async def _open(self, accepted: socket.socket, peer: tuple[str, int] | str, accepted_at: int) -> None:
        connection = Connection(self._traffic)
        self._traffic.accepted()
        try:
            opened = await self._greet_and_dial(connection, accepted, peer)
        finally:
            self._traffic.opening -= 1
        if opened:
            self._traffic.row.add("model_wait_ns", connection.connected_at - accepted_at)
            # A Unix peer has no address.
            client = "" if isinstance(peer, str) else str(Address(*peer[:2]))
            connection.join(ConnectionFacts(self._route, client, accepted_at, connection.connected_at))

    async def _greet_and_dial(
        self, connection: Connection, accepted: socket.socket, peer: tuple[str, int] | str
    ) -> bool:
        """Whether both sides of `connection` are connected."""
        try:
            model = self._dialler.model_of(accepted)
            if self._is_our_own(peer):
                raise NotRedirectedError(_LOOP)
        except OSError as error:
            self._traffic.not_redirected()
            self._say(_NOT_REDIRECTED, str(error))
            reset_socket(accepted)
            return False
        if self._tls is None:
            return await self._open_plain(connection, accepted, model)
        return await self._open_tls(self._tls, connection, accepted, model)

    async def _open_plain(self, connection: Connection, accepted: socket.socket, model: Endpoint) -> bool:
        if not await self._dial(connection, model, None):
            reset_socket(accepted)
            return False
        connection.waiting_since = waiting_since(accepted, connection.connected_at)
        try:
            await self._loop.connect_accepted_socket(lambda: connection.client, accepted)
        except OSError:  # the client has gone meanwhile
            accepted.close()
            connection.abandon()
            return False
        return True

    async def _open_tls(
        self, tls: ServerContexts, connection: Connection, accepted: socket.socket, model: Endpoint
    ) -> bool:
        if not await self._greet(tls, connection, accepted, model):
            self._traffic.not_greeted()
            reset_socket(accepted)
            return False
        transport = connection.client.transport
        if not await self._dial(connection, model, alpn_choice(transport)):
            reset_transport(transport)
            return False
        return True

    async def _greet(
        self, tls: ServerContexts, connection: Connection, accepted: socket.socket, model: Endpoint
    ) -> bool:
        """The TLS handshake; whether it came to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._make_room()
        self._greeting[task] = None
        try:
            context = tls.context(await self._dialler.protocols(model))
            await self._loop.connect_accepted_socket(
                lambda: connection.client, accepted, ssl=context, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except (OSError, TimeoutError, asyncio.CancelledError):  # TLS errors are OSErrors
            return False
        finally:
            del self._greeting[task]
        return True

    def _make_room(self) -> None:
        if len(self._greeting) >= GREETING_MAX:
            self._traffic.row.add("handshakes_dropped")
            next(iter(self._greeting)).cancel()

    async def _dial(self, connection: Connection, model: Endpoint, protocol: str | None) -> bool:
        try:
            transport = await self._dialler.dial(lambda: connection.model, model, protocol)
        except (OSError, TimeoutError):
            self._traffic.refused()
            return False
        connection.connected_at = monotonic_ns()
        if self._dialler.follows_redirects:
            connection.dialled_from = transport.get_extra_info("sockname")[:2]
        self._traffic.opened(connection)
        return True

    def _is_our_own(self, peer: tuple[str, int] | str) -> bool:
        """Redirect mode: the rules send the relay's own connections back to it."""
        if isinstance(peer, str):
            return False
        return (peer[0].removeprefix("::ffff:"), peer[1]) in self._traffic.dialled_from
