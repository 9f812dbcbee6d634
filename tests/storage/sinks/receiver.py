"""A receiver of HTTP, which answers as a test says, and keeps what it took."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

WAIT_SECONDS = 20


class Receiver:
    """What came. `answer` is asked for each request: its status and headers, or None for 200."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.taken: list[dict[str, Any]] = []
        self.answer: Callable[[bytes], tuple[int, dict[str, str]] | None] = lambda _: None
        self.changed = asyncio.Condition()
        self.url = ""
        # While it is not set, nobody is answered.
        self.hold = asyncio.Event()
        self.hold.set()

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        await self.hold.wait()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((headers, body))
        status, more = self.answer(body) or (200, {})
        if status == 200:
            if headers.get("content-type", "").startswith("application/cloudevents-batch+json"):
                self.taken += json.loads(body)
            else:
                self.taken.append({"id": headers.get("ce-id"), "body": body})
        async with self.changed:
            self.changed.notify_all()
        return web.Response(status=status, headers=more, text="an answer that may quote payload")

    @property
    def ids(self) -> list[str]:
        """Of the events that were taken."""
        return [each["id"] for each in self.taken]

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for what the next requests bring about."""
        async with asyncio.timeout(WAIT_SECONDS), self.changed:
            await self.changed.wait_for(is_so)

    @asynccontextmanager
    async def serving(
        self, context: ssl.SSLContext | None = None, port: int = 0
    ) -> AsyncIterator["Receiver"]:
        """Serve, at `url` from then on."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/in", self.take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=context)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        self.url = f"http{'s' * bool(context)}://127.0.0.1:{self.port}/in"
        try:
            yield self
        finally:
            await runner.cleanup()
