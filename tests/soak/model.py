"""The soak's model: HTTP/1 and HTTP/2 on one port, gRPC on another, all in the process of the clients.

HTTP/1 answers by path; HTTP/2 and gRPC say back what they are told. What a client must know before it breaks
off, that its request has come, it awaits with `Model.arrival`.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

import grpc
import h2.config
import h2.connection
import h2.events
import h2.exceptions

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LARGE = 2 << 20
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Model:
    """Both servers, and the paths that came."""

    def __init__(self) -> None:
        self._arrivals: dict[bytes, asyncio.Event] = {}
        self._server: asyncio.Server | None = None
        self._grpc: grpc.aio.Server | None = None
        self.http_address = self.grpc_address = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.http_address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._grpc = grpc.aio.server()
        calls = {
            "One": grpc.unary_unary_rpc_method_handler(_one),
            "Chat": grpc.stream_stream_rpc_method_handler(_chat),
        }
        self._grpc.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("soak.Echo", calls)])
        self.grpc_address = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        await self._grpc.start()

    async def stop(self) -> None:
        assert self._server is not None
        assert self._grpc is not None
        self._server.close()
        await self._grpc.stop(0)

    async def arrival(self, path: bytes) -> None:
        """Until a request for `path` has come, which is asked for once."""
        await asyncio.wait_for(self._arrivals.setdefault(path, asyncio.Event()).wait(), 30)
        del self._arrivals[path]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, h2.exceptions.ProtocolError):
            first = await reader.read(1)
            if first == PREFACE[:1]:
                first += await reader.read(1)
            if first == PREFACE[:2]:
                await _Http2(reader, writer).serve(first)
            elif first.isalpha():
                await self._http1(reader, writer, first)
            elif first:
                writer.write(first * 3)
                await _echo_raw(reader, writer)
        writer.close()

    # -- HTTP/1

    async def _http1(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes) -> None:
        while head := await _until_end_of_head(reader):
            method, path, fields = _parse(first + head)
            first = b""
            if b"token=" in path:
                self._arrivals.setdefault(path, asyncio.Event()).set()
            if b"content-length" in fields and b"transfer-encoding" in fields:
                writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            if fields.get(b"expect") == b"100-continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await _read_body(reader, fields)
            if not await self._answer(reader, writer, method, path, body):
                return

    async def _answer(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        method: bytes,
        path: bytes,
        body: bytes,
    ) -> bool:
        """Answer one request; whether the connection goes on."""
        name = path.partition(b"?")[0]
        if method == b"CONNECT":
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            await _echo_raw(reader, writer)
            return False
        if name in (b"/upgrade", b"/websocket"):
            other = b"websocket" if name == b"/websocket" else b"soak"
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: %b\r\nConnection: upgrade\r\n"
                b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n" % other
            )
            await _echo_raw(reader, writer)
            return False
        if name == b"/early":
            writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n")
        if method == b"HEAD":
            writer.write(_OK + b"Content-Length: 4711\r\n\r\n")
        elif name == b"/none":
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        elif name == b"/same":
            writer.write(b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n')
        elif name == b"/close":
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)
            return False
        elif name == b"/chunked":
            await _send_chunks(writer, [body[at : at + 700] for at in range(0, len(body), 700)], 0)
        elif name == b"/events":
            events = [
                b'data: {"choices": [{"delta": {"content": "%d"}}]}\n\n' % number for number in range(20)
            ]
            await _send_chunks(writer, events, 0.005)
        elif name == b"/large":
            writer.write(_OK + b"Content-Length: %d\r\n\r\n" % LARGE)
            for _ in range(LARGE >> 16):
                writer.write(bytes(1 << 16))
                await writer.drain()
        elif name == b"/reset":
            writer.write(_OK + b"Content-Length: 100\r\n\r\nhalf")
            await writer.drain()
            await asyncio.sleep(0.01)
            reset(writer)
            return False
        else:
            writer.write(_OK + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        return True


def reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection off with RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _until_end_of_head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


def _parse(head: bytes) -> tuple[bytes, bytes, dict[bytes, bytes]]:
    line, *lines = head.strip().split(b"\r\n")
    method, path, _ = line.split(b" ", 2)
    fields = (each.partition(b":") for each in lines)
    return method, path, {name.lower(): value.strip().lower() for name, _, value in fields}


async def _read_body(reader: asyncio.StreamReader, fields: dict[bytes, bytes]) -> bytes:
    if fields.get(b"transfer-encoding") == b"chunked":
        return await read_chunks(reader)
    return await reader.readexactly(int(fields.get(b"content-length", b"0")))


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    """A chunked body, with extensions and trailers that are of no interest."""
    body = b""
    while size := int((await reader.readline()).partition(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    while (await reader.readline()).strip():
        pass
    return body


async def _send_chunks(writer: asyncio.StreamWriter, pieces: list[bytes], gap: float) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in pieces:
        writer.write(b"%x;n=1\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
        if gap:
            await asyncio.sleep(gap)
    writer.write(b"0\r\nX-Sum: 1\r\n\r\n")


async def _echo_raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1 << 16):
        writer.write(piece)
        await writer.drain()


# -- HTTP/2


class _Http2:
    """One connection, which says back what it is told; `/reset` is broken off, `/bye` ends the connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        self._h2 = h2.connection.H2Connection(config)
        self._paths: dict[int, bytes] = {}
        self._bodies: dict[int, bytes] = {}
        self._reset: set[int] = set()

    async def serve(self, first: bytes) -> None:
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(1 << 24)
        data = first
        while data:
            events = self._h2.receive_data(data)
            # Resets first: what was taken back in the same read can't be answered.
            for event in sorted(events, key=lambda each: not isinstance(each, h2.events.StreamReset)):
                self._take(event)
            self._writer.write(self._h2.data_to_send())
            await self._writer.drain()
            data = await self._reader.read(1 << 16)

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamReset):
            self._reset.add(event.stream_id)
            self._paths.pop(event.stream_id, None)
        elif getattr(event, "stream_id", None) in self._reset:
            pass
        elif isinstance(event, h2.events.RequestReceived):
            self._paths[event.stream_id] = dict(event.headers)[b":path"]
            self._bodies[event.stream_id] = b""
        elif isinstance(event, h2.events.DataReceived) and event.stream_id in self._bodies:
            self._bodies[event.stream_id] += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id in self._paths:
            self._answer(event.stream_id)

    def _answer(self, stream: int) -> None:
        path, body = self._paths.pop(stream), self._bodies.pop(stream)
        self._h2.send_headers(stream, [(b":status", b"200"), (b"content-type", b"application/json")])
        if path == b"/reset":
            self._h2.reset_stream(stream, 2)
            return
        for at in range(0, len(body), 16_000):
            self._h2.send_data(stream, body[at : at + 16_000])
        self._h2.send_headers(stream, [(b"x-sum", b"1")], end_stream=True)
        if path == b"/bye":
            self._h2.close_connection()


# -- gRPC


async def _one(request: bytes, _: grpc.aio.ServicerContext) -> bytes:
    return request[::-1]


async def _chat(requests: AsyncIterator[bytes], _: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    async for request in requests:
        yield b"re " + request
