"""What strangers can hold of the web port."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from infertap.settings import Address
from storage.web import listen_web, listening

WAIT_SECONDS = 20
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=await request.text() or "well")

    app = web.Application()
    app.router.add_route("*", "/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    server = await listen_web(runner, Address("127.0.0.1", 0), None)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await runner.cleanup()


async def ask(port: int, *pieces: bytes) -> bytes:
    """What comes back until an answer, or the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            return await reader.read(65_536)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_heads_that_do_not_come(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says nothing, or half a head, is not waited for; who has asked once is, for the body or more."""
    monkeypatch.setattr(listening, "HEAD_SECONDS", 0.1)
    assert await ask(port) == b""
    assert await ask(port, REQUEST[:-2]) == b""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for byte in REQUEST.replace(b"GET", b"PUT").replace(b"x", b"x\r\nContent-Length: 4"):
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
    await asyncio.sleep(0.3)
    writer.write(b"late")
    async with asyncio.timeout(WAIT_SECONDS):
        assert b"late" in await reader.readuntil(b"late")
    writer.close()


async def test_connections_are_bounded(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one address, and of all, there are so many; one that ends makes room."""
    for name in ("MOST_OF_ADDRESS", "MOST_CONNECTIONS"):
        with monkeypatch.context() as patch:
            patch.setattr(listening, name, 2)
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            assert await ask(port, REQUEST) == b""
            held[0][1].close()
            async with asyncio.timeout(WAIT_SECONDS):
                while not (await ask(port, REQUEST)).endswith(b"well"):  # noqa: ASYNC110  (nothing tells)
                    await asyncio.sleep(0.01)
            held[1][1].close()
            async with asyncio.timeout(WAIT_SECONDS):
                while not (await ask(port, REQUEST)).endswith(b"well"):  # noqa: ASYNC110  (nothing tells)
                    await asyncio.sleep(0.01)
