"""Dialling: reaching the model of one route, and knowing what it speaks.

Touches new sockets towards the model. What `auto` finds out is remembered for REMEMBERED_SECONDS, and asked
only where a client speaks TLS: without it nobody needs to know beforehand.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final

from infertap.settings import Address, Endpoint
from sidecar.config import Route
from sidecar.tls import HANDSHAKE_SECONDS, HTTP1, HTTP2, ClientContexts, Protocols

DIAL_SECONDS: Final = 30.0
ASK_SECONDS: Final = 2.0
REMEMBERED_SECONDS: Final = 60.0

# RFC 9113, section 3.4: the client's preface, here with an empty SETTINGS frame. A server answers SETTINGS.
_HTTP2_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
_FRAME_HEADER_BYTES: Final = 9
_SETTINGS: Final = 4
# RFC 9110, section 9.3.7: asks for nothing, a test of the server itself.
_HTTP1_OPTIONS: Final = b"OPTIONS * HTTP/1.1\r\nHost: infertap\r\nConnection: close\r\n\r\n"


class Dialler:
    """Reaches the model of one route."""

    def __init__(self, route: Route, protocol: str, contexts: ClientContexts) -> None:
        """`protocol` is one of config.PROTOCOLS."""
        self._upstream = route.upstream
        self._contexts = contexts if route.dials_with_tls else None
        self._known: Protocols | None = None if protocol == "auto" else (protocol,)
        self._asking = asyncio.Lock()

    async def protocols(self) -> Protocols:
        """What the model speaks, best first. Raises OSError and TimeoutError where it can't be asked."""
        async with self._asking:
            if self._known is None:
                self._known = await self._ask()
                asyncio.get_running_loop().call_later(REMEMBERED_SECONDS, self._forget)
            return self._known

    def _forget(self) -> None:
        self._known = None

    async def dial(self, make_side: Callable[[], asyncio.Protocol], protocol: str | None) -> None:
        """Connect to the model. `protocol` is what the client chose; None where it chose nothing.

        Raises OSError (TLS errors among them) and TimeoutError.
        """
        async with asyncio.timeout(DIAL_SECONDS):
            wanted = () if self._contexts is None else await self._wanted(protocol)
            transport, _ = await _connect(self._upstream, make_side, **self._tls_arguments(wanted))
        if self._contexts is None:
            return
        chosen = alpn_choice(transport)
        if protocol is not None and chosen is not None and chosen != protocol:
            transport.abort()
            raise ConnectionRefusedError("client and model chose different protocols")

    async def _wanted(self, protocol: str | None) -> Protocols:
        if protocol is not None:
            return (protocol,)
        spoken = await self.protocols()
        # Without ALPN on the client's side the older one is the better guess, as with any server.
        return (HTTP1,) if HTTP1 in spoken else spoken

    def _tls_arguments(self, protocols: Protocols) -> dict[str, Any]:
        if self._contexts is None:
            return {}
        assert isinstance(self._upstream, Address)
        return {
            "ssl": self._contexts.context(protocols),
            "server_hostname": self._contexts.server_name(self._upstream.host),
            "ssl_handshake_timeout": HANDSHAKE_SECONDS,
        }

    async def _ask(self) -> Protocols:
        async with asyncio.timeout(DIAL_SECONDS):
            spoken = [each for each in (HTTP2, HTTP1) if await self._speaks(each)]
        return tuple(spoken) or (HTTP1,)

    async def _speaks(self, protocol: str) -> bool:
        reader = asyncio.StreamReader()
        transport, _ = await _connect(
            self._upstream, lambda: asyncio.StreamReaderProtocol(reader), **self._tls_arguments((protocol,))
        )
        try:
            if self._contexts is not None:
                return (alpn_choice(transport) or HTTP1) == protocol
            async with asyncio.timeout(ASK_SECONDS):
                return await _answers(protocol, transport, reader)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return False
        finally:
            transport.abort()


async def _answers(protocol: str, transport: asyncio.WriteTransport, reader: asyncio.StreamReader) -> bool:
    if protocol == HTTP2:
        transport.write(_HTTP2_PREFACE)
        return (await reader.readexactly(_FRAME_HEADER_BYTES))[3] == _SETTINGS
    transport.write(_HTTP1_OPTIONS)
    return await reader.readexactly(7) == b"HTTP/1."


async def _connect(
    upstream: Endpoint, make_side: Callable[[], asyncio.BaseProtocol], **tls: Any
) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    loop = asyncio.get_running_loop()
    if isinstance(upstream, Address):
        return await loop.create_connection(make_side, upstream.host, upstream.port, **tls)
    return await loop.create_unix_connection(make_side, upstream.path)


def alpn_choice(transport: asyncio.BaseTransport) -> str | None:
    """What ALPN settled on over a TLS transport; None where the peer does not use it."""
    tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
    return tls.selected_alpn_protocol()
