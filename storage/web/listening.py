"""Listening: the web port: how many connections it takes, and how long a handshake may last.

Touches the listening socket. It promises: beyond MOST_CONNECTIONS a new one is closed at once, and a client
that does not finish its TLS handshake in HANDSHAKE_SECONDS is gone.
"""

import asyncio
import os
import ssl
from typing import Final

from aiohttp import web

from infertap.settings import Address

MOST_CONNECTIONS: Final = 2000
HANDSHAKE_SECONDS: Final = 10.0


class CannotListenError(OSError):
    """The address can't be had; the message says why."""


class _Closing(asyncio.Protocol):
    """Takes no connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


async def listen_web(
    runner: web.AppRunner, address: Address, context: ssl.SSLContext | None
) -> asyncio.Server:
    """Serve `runner`, which is set up, at `address`, over TLS where there is a `context`. Raises
    CannotListenError.
    """
    server = runner.server
    assert server is not None, "the runner is set up"

    def accept() -> asyncio.BaseProtocol:
        return server() if len(server.connections) < MOST_CONNECTIONS else _Closing()

    try:
        return await asyncio.get_running_loop().create_server(
            accept,
            address.host,
            address.port,
            ssl=context,
            ssl_handshake_timeout=None if context is None else HANDSHAKE_SECONDS,
        )
    except OSError as error:
        raise CannotListenError(os.strerror(error.errno or 0)) from None
