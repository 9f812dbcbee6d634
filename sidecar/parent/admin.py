"""Admin: health, metrics and the account over HTTP, answered from what the parent itself knows.

Touches its own listening socket only; asks no child anything, so that a stopped recorder fails no probe. It
promises an answer to any request within REQUEST_SECONDS, at most MAX_CLIENTS of them at a time, and that it
never raises because of what a client sends.

    GET /healthz    200 while the parent lives
    GET /readyz     200 where every relay slot accepts, else 503
    GET /metrics    Prometheus text
    GET /account    law 4 as JSON
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

REQUEST_SECONDS: Final = 5.0
MAX_CLIENTS: Final = 64
_MAX_HEAD_BYTES: Final = 16 << 10
_PHRASES: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response."""

    status: int
    body: str
    content_type: str = "text/plain; charset=utf-8"


def json_answer(status: int, value: object) -> Answer:
    """`value` as a JSON document."""
    return Answer(status, json.dumps(value, indent=1) + "\n", "application/json")


Pages = Mapping[str, Callable[[], Answer]]


def answer(head: bytes, pages: Pages) -> Answer:
    """What a request head gets. Pure but for the page it calls."""
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return Answer(400, "not an HTTP/1 request\n")
    page = pages.get(words[1].split(b"?")[0].decode("ascii", "replace"))
    if page is None:
        return Answer(404, "".join(f"{path}\n" for path in pages))
    if words[0] not in (b"GET", b"HEAD"):
        return Answer(405, "GET only\n")
    return page()


def _as_bytes(given: Answer, head_only: bool) -> bytes:
    body = given.body.encode()
    head = (
        f"HTTP/1.1 {given.status} {_PHRASES[given.status]}\r\n"
        f"content-type: {given.content_type}\r\n"
        f"content-length: {len(body)}\r\n"
        "connection: close\r\n\r\n"
    ).encode()
    return head if head_only else head + body


class Admin:
    """The endpoint."""

    def __init__(self, listening: socket.socket, pages: Pages) -> None:
        self._listening = listening
        self._pages = pages
        self._clients = 0

    async def serve(self) -> asyncio.Server:
        """Answer from now on, until the server returned is closed."""
        return await asyncio.start_server(self._serve_client, sock=self._listening, limit=_MAX_HEAD_BYTES)

    async def _serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            if self._clients <= MAX_CLIENTS:
                async with asyncio.timeout(REQUEST_SECONDS):
                    await self._answer_one(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client's own doing; the next one is answered
        finally:
            self._clients -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(_as_bytes(answer(head, self._pages), head.startswith(b"HEAD ")))
        await writer.drain()
