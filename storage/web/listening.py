"""Listening: the web port: how many connections it takes, and how long it waits for what they say first.

Touches the listening socket. It promises: beyond MOST_CONNECTIONS, or MOST_OF_ADDRESS of one address, a new
one is closed at once; a client that does not finish its TLS handshake in HANDSHAKE_SECONDS, or the head of
its first request in HEAD_SECONDS, is gone. (Later heads: aiohttp's time for keeping connections.)
"""

import asyncio
import os
import ssl
from collections import Counter
from typing import Final

from aiohttp import web

from infertap.settings import Address

MOST_CONNECTIONS: Final = 2000
# So that whoever asks for health from elsewhere is answered.
MOST_OF_ADDRESS: Final = 1000
HANDSHAKE_SECONDS: Final = 10.0
HEAD_SECONDS: Final = 10.0
_HEAD_END: Final = b"\r\n\r\n"


class CannotListenError(OSError):
    """The address can't be had; the message says why."""


class _Connection(asyncio.Protocol):
    """One connection, which `served` serves; it is counted, and hurried until its first head has come."""

    def __init__(self, served: asyncio.Protocol, counts: Counter[str]) -> None:
        self._served = served
        self._counts = counts
        self._address: str | None = None
        self._tail = b""
        self._hurry: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        address = str((transport.get_extra_info("peername") or ("",))[0])
        if self._counts.total() >= MOST_CONNECTIONS or self._counts[address] >= MOST_OF_ADDRESS:
            transport.close()
            return
        self._address = address
        self._counts[address] += 1
        assert isinstance(transport, asyncio.Transport)
        self._hurry = asyncio.get_running_loop().call_later(HEAD_SECONDS, transport.abort)
        self._served.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._address is None:
            return
        if self._hurry is not None:
            tail = self._tail + data
            self._tail = tail[1 - len(_HEAD_END) :]
            if _HEAD_END in tail:
                self._calm()
        self._served.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._address is None else self._served.eof_received()

    def pause_writing(self) -> None:
        self._served.pause_writing()

    def resume_writing(self) -> None:
        self._served.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._calm()
        if self._address is not None:
            self._counts[self._address] -= 1
            if not self._counts[self._address]:
                del self._counts[self._address]
            self._served.connection_lost(exc)

    def _calm(self) -> None:
        if self._hurry is not None:
            self._hurry.cancel()
            self._hurry, self._tail = None, b""


async def listen_web(
    runner: web.AppRunner, address: Address, context: ssl.SSLContext | None
) -> asyncio.Server:
    """Serve `runner`, which is set up, at `address`, over TLS where there is a `context`. Raises
    CannotListenError.
    """
    server = runner.server
    assert server is not None, "the runner is set up"

    counts: Counter[str] = Counter()

    def accept() -> asyncio.BaseProtocol:
        return _Connection(server(), counts)

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
