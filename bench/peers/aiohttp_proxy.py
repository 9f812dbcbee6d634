"""A reverse proxy in aiohttp, as one writes it in an hour: on uvloop, adds a request id, streams both bodies.

python -m bench.peers.aiohttp_proxy LISTEN=UPSTREAM ...          loopback ports
"""

import asyncio
import contextlib
import sys
import uuid
from typing import Final

import aiohttp
import uvloop
from aiohttp import web

_HOP_BY_HOP: Final = {
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "date",
    "server",
}
_MODEL: Final = web.AppKey("model", aiohttp.ClientSession)
_UPSTREAM: Final = web.AppKey("upstream", str)


async def relay(request: web.Request) -> web.StreamResponse:
    """One call."""
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
    headers.setdefault("x-request-id", str(uuid.uuid4()))
    url = request.app[_UPSTREAM] + request.path_qs
    body = request.content if request.body_exists else None
    async with request.app[_MODEL].request(request.method, url, headers=headers, data=body) as answered:
        response = web.StreamResponse(status=answered.status)
        for name, value in answered.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                response.headers[name] = value
        await response.prepare(request)
        async for piece in answered.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response


async def serve(routes: list[tuple[int, int]]) -> None:
    """Serve all routes for ever."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as model:
        for listen, upstream in routes:
            app = web.Application(client_max_size=1 << 30)
            app[_MODEL], app[_UPSTREAM] = model, f"http://127.0.0.1:{upstream}"
            app.router.add_route("*", "/{path:.*}", relay)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", listen, backlog=1024).start()
        await asyncio.Event().wait()


def route(said: str) -> tuple[int, int]:
    """LISTEN=UPSTREAM."""
    listen, upstream = said.split("=")
    return int(listen), int(upstream)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve([route(said) for said in sys.argv[1:]]))
