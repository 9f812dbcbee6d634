"""Model: the upstream of what nginx can't answer: bodies of 16 MiB, and streams of events.

    python -m bench.model PORT

HTTP/1.1 on loopback, on persistent connections, heads with Content-Length only, as its clients here send:

    POST /body     reads the body to its end, then answers `ok`
    GET  /body     answers with 16 MiB
    GET  /events   server-sent events in chunks, 50 a second, until the client goes, with the time of sending:
                   data: {..., "sent_ns":<CLOCK_MONOTONIC, 20 digits>, ...}
"""

import asyncio
import re
import sys
import time
from typing import Final, cast

import uvloop

BODY_BYTES: Final = 16 << 20
EVENTS_PER_SECOND: Final = 50
LATE_SECONDS: Final = 0.01
# Where the upstream answers a unary call of the Open Inference Protocol.
GRPC_METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"
SENT: Final = re.compile(rb'"sent_ns":(\d{20})')

# Streams take turns: each millisecond a twentieth of them gets its event.
_TURNS: Final = 1000 // EVENTS_PER_SECOND
_EVENT: Final = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"alice",'
    b'"sent_ns":%020d,"choices":[{"index":0,"delta":{"content":" and so on"},"finish_reason":null}]}\n\n'
)
_CHUNK: Final = b"%x\r\n%%b\r\n" % len(_EVENT % 0)
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
_BODY_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES
)
_BODY: Final = bytes(BODY_BYTES)
_EVENTS_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


class Streams:
    """The streams of events, each with its turn."""

    def __init__(self) -> None:
        self._turns: list[set[asyncio.WriteTransport]] = [set() for _ in range(_TURNS)]

    def add(self, transport: asyncio.WriteTransport) -> None:
        """It gets events from now on."""
        min(self._turns, key=len).add(transport)

    def remove(self, transport: asyncio.WriteTransport) -> None:
        """It gets no more."""
        for turn in self._turns:
            turn.discard(transport)

    async def send(self) -> None:
        """Send each its events, for ever; what is late by more than LATE_SECONDS is not made up for."""
        loop = asyncio.get_running_loop()
        due, number = loop.time(), 0
        while True:
            for transport in self._turns[number]:
                transport.write(_CHUNK % (_EVENT % time.monotonic_ns()))
            number = (number + 1) % _TURNS
            due = max(due + 1 / (EVENTS_PER_SECOND * _TURNS), loop.time() - LATE_SECONDS)
            await asyncio.sleep(due - loop.time())


class Connection(asyncio.BufferedProtocol):
    """One client, reading into one buffer."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._buffer = bytearray(1 << 18)
        self._head = b""
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _: Exception | None) -> None:
        """See asyncio."""
        self._streams.remove(self._transport)

    def get_buffer(self, _: int) -> bytearray:
        """See asyncio."""
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        """See asyncio."""
        if self._missing:
            self._read_body(count)
            return
        self._head += self._buffer[:count]
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if end:
            self._head = b""
            self._begin(head, len(rest))

    def _begin(self, head: bytes, of_body: int) -> None:
        if head.startswith(b"GET /events"):
            self._transport.write(_EVENTS_HEAD)
            self._streams.add(self._transport)
        elif head.startswith(b"GET /body"):
            self._transport.write(_BODY_HEAD)
            self._transport.write(_BODY)
        else:
            length = _LENGTH.search(head)
            self._missing = int(length[1]) if length else of_body
            self._read_body(of_body)

    def _read_body(self, count: int) -> None:
        self._missing -= count
        if not self._missing:
            self._transport.write(_OK)


async def serve(port: int) -> None:
    """Serve for ever."""
    streams = Streams()
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Connection(streams), "127.0.0.1", port, backlog=1024)
    await streams.send()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
