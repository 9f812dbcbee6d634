"""Dialling: reaching the model of one route, and knowing what it speaks.

Touches new sockets towards the model. What `auto` finds out of a model is remembered for REMEMBERED_SECONDS,
and asked only where a client speaks TLS: without it nobody needs to know beforehand. In redirect mode the
model is whoever the client wanted, and each is asked for itself.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from infertap.settings import Address, Endpoint
from sidecar.config import Original, Route
from sidecar.relay.redirect import begin_to_connect, is_connected, original_destination
from sidecar.tls import HANDSHAKE_SECONDS, HTTP1, HTTP2, ClientContexts, Protocols

DIAL_SECONDS: Final = 30.0
ASK_SECONDS: Final = 2.0
REMEMBERED_SECONDS: Final = 60.0
# Models known at a time: in redirect mode a client may name any address.
_KNOWN_MAX: Final = 256

# RFC 9113, section 3.4: the client's preface, here with an empty SETTINGS frame. A server answers SETTINGS.
_HTTP2_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
_FRAME_HEADER_BYTES: Final = 9
_SETTINGS: Final = 4
# RFC 9110, section 9.3.7: asks for nothing, a test of the server itself.
_HTTP1_OPTIONS: Final = b"OPTIONS * HTTP/1.1\r\nHost: infertap\r\nConnection: close\r\n\r\n"


class Dialler:
    """Reaches the model of one route."""

    def __init__(
        self,
        route: Route,
        protocol: str,
        contexts: ClientContexts,
        own_ends: set[tuple[str, int]] | None = None,
    ) -> None:
        """`protocol` is one of config.PROTOCOLS. In redirect mode our ends of connections to models are in
        `own_ends` from their first packet on; who is done with one takes it out.
        """
        self._upstream = route.upstream
        self._contexts = contexts if route.dials_with_tls else None
        self._fixed: Protocols | None = None if protocol == "auto" else (protocol,)
        self._known: dict[Endpoint, Protocols] = {}
        self._asking = asyncio.Lock()
        self._own_ends = own_ends if own_ends is not None else set()

    @property
    def follows_redirects(self) -> bool:
        """The model is whoever the client wanted."""
        return isinstance(self._upstream, Original)

    def model_of(self, accepted: socket.socket) -> Endpoint:
        """The model that the client of `accepted` is to reach; raises NotRedirectedError, OSError."""
        if isinstance(self._upstream, Original):
            return original_destination(accepted)
        return self._upstream

    async def protocols(self, model: Endpoint) -> Protocols:
        """What `model` speaks, best first. Raises OSError and TimeoutError where it can't be asked."""
        if self._fixed is not None:
            return self._fixed
        async with self._asking:
            known = self._known.get(model)
            if known is None:
                known = await self._ask(model)
                self._remember(model, known)
            return known

    def _remember(self, model: Endpoint, spoken: Protocols) -> None:
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[model] = spoken
        asyncio.get_running_loop().call_later(REMEMBERED_SECONDS, self._known.pop, model, None)

    async def dial(
        self, make_side: Callable[[], asyncio.Protocol], model: Endpoint, protocol: str | None
    ) -> asyncio.Transport:
        """Connect to `model`. `protocol` is what the client chose; None where it chose nothing.

        Raises OSError (TLS errors among them) and TimeoutError.
        """
        async with asyncio.timeout(DIAL_SECONDS):
            wanted = () if self._contexts is None else await self._wanted(model, protocol)
            transport = await self._connect(make_side, model, wanted)
        if self._contexts is not None and protocol is not None:
            chosen = alpn_choice(transport)
            if chosen is not None and chosen != protocol:
                self._own_ends.discard(transport.get_extra_info("sockname")[:2])
                transport.abort()
                raise ConnectionRefusedError("client and model chose different protocols")
        return transport

    async def _wanted(self, model: Endpoint, protocol: str | None) -> Protocols:
        if protocol is not None:
            return (protocol,)
        spoken = await self.protocols(model)
        # Without ALPN on the client's side the older one is the better guess, as with any server.
        return (HTTP1,) if HTTP1 in spoken else spoken

    async def _connect(
        self, make_side: Callable[[], asyncio.BaseProtocol], model: Endpoint, protocols: Protocols
    ) -> asyncio.Transport:
        loop = asyncio.get_running_loop()
        if not isinstance(model, Address):
            transport, _ = await loop.create_unix_connection(make_side, model.path)
        elif self.follows_redirects:
            transport = await self._connect_noted(make_side, model, self._tls_arguments(model, protocols))
        else:
            transport, _ = await loop.create_connection(
                make_side, model.host, model.port, **self._tls_arguments(model, protocols)
            )
        return transport

    async def _connect_noted(
        self, make_side: Callable[[], asyncio.BaseProtocol], model: Address, tls: dict[str, Any]
    ) -> asyncio.Transport:
        """Note our own end before anybody can accept it: it may be ourselves, in a loop."""
        connecting = begin_to_connect(model)
        end = connecting.getsockname()[:2]
        self._own_ends.add(end)
        try:
            await is_connected(connecting)
            transport, _ = await asyncio.get_running_loop().create_connection(
                make_side, sock=connecting, **tls
            )
        except BaseException:
            self._own_ends.discard(end)
            connecting.close()
            raise
        return transport

    def _tls_arguments(self, model: Address, protocols: Protocols) -> dict[str, Any]:
        if self._contexts is None:
            return {}
        return {
            "ssl": self._contexts.context(protocols),
            "server_hostname": self._contexts.server_name(model.host),
            "ssl_handshake_timeout": HANDSHAKE_SECONDS,
        }

    async def _ask(self, model: Endpoint) -> Protocols:
        async with asyncio.timeout(DIAL_SECONDS):
            spoken = [each for each in (HTTP2, HTTP1) if await self._speaks(model, each)]
        return tuple(spoken) or (HTTP1,)

    async def _speaks(self, model: Endpoint, protocol: str) -> bool:
        reader = asyncio.StreamReader()
        transport = await self._connect(lambda: asyncio.StreamReaderProtocol(reader), model, (protocol,))
        try:
            if self._contexts is not None:
                return (alpn_choice(transport) or HTTP1) == protocol
            async with asyncio.timeout(ASK_SECONDS):
                return await _answers(protocol, transport, reader)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return False
        finally:
            self._own_ends.discard(transport.get_extra_info("sockname")[:2])
            transport.abort()


async def _answers(protocol: str, transport: asyncio.WriteTransport, reader: asyncio.StreamReader) -> bool:
    if protocol == HTTP2:
        transport.write(_HTTP2_PREFACE)
        return (await reader.readexactly(_FRAME_HEADER_BYTES))[3] == _SETTINGS
    transport.write(_HTTP1_OPTIONS)
    return await reader.readexactly(7) == b"HTTP/1."


def alpn_choice(transport: asyncio.BaseTransport) -> str | None:
    """What ALPN settled on over a TLS transport; None where the peer does not use it."""
    tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
    return tls.selected_alpn_protocol()
