"""HTTP/1 clients, well-behaved and otherwise: a connection each."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from websockets.frames import Frame, Opcode

from tests.soak.ledger import Done
from tests.soak.model import LARGE, Model, read_chunks, reset

_tokens = itertools.count()


@dataclass
class Where:
    """What a session works with."""

    host: str
    http_port: int
    grpc_port: int
    model: Model
    done: Done
    random: random.Random


@asynccontextmanager
async def connected(where: Where) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection, closed in the end."""
    reader, writer = await asyncio.open_connection(where.host, where.http_port, limit=1 << 20)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, OSError):
            await writer.wait_closed()


async def read_answer(
    reader: asyncio.StreamReader, method: bytes = b"GET"
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, fields and body of the next final answer."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *lines = head.strip().split(b"\r\n")
        status = int(line.split(b" ")[1])
        fields = {name.lower(): value.strip() for name, _, value in (each.partition(b":") for each in lines)}
        if status >= 200 or status == 101:
            break
    if method == b"HEAD" or status in (204, 304, 101):
        return status, fields, b""
    if fields.get(b"transfer-encoding") == b"chunked":
        return status, fields, await read_chunks(reader)
    if b"content-length" in fields:
        return status, fields, await reader.readexactly(int(fields[b"content-length"]))
    return status, fields, await reader.read(-1)


def a_body(where: Where, most: int = 20_000) -> bytes:
    """Some JSON."""
    return b'{"text": "%b"}' % (b"x" * where.random.choice((0, 1, 100, 3000, most)))


async def keep_alive(where: Where) -> None:
    """Requests of every kind, one after the other."""
    async with connected(where) as (reader, writer):
        for _ in range(where.random.randrange(1, 12)):
            path = where.random.choice((b"/echo", b"/chunked", b"/early", b"/none", b"/same", b"/head"))
            method = b"HEAD" if path == b"/head" else b"POST"
            body = b"" if method == b"HEAD" else a_body(where)
            await _send(where, writer, method, path, body)
            status, fields, answer = await read_answer(reader, method)
            where.done.calls += 1
            assert b"x-request-id" in fields, "no request id in the answer"
            assert answer == (b"" if method == b"HEAD" or status in (204, 304) else body), "another body"


async def _send(where: Where, writer: asyncio.StreamWriter, method: bytes, path: bytes, body: bytes) -> None:
    head = b"%b %b HTTP/1.1\r\nHost: m\r\n" % (method, path)
    how = where.random.randrange(4)
    if how == 0 and body:
        writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(body), 999):
            piece = body[at : at + 999]
            writer.write(b"%X;a=b\r\n%b\r\n" % (len(piece), piece))
            await asyncio.sleep(0)
        writer.write(b"0\r\nX-Trailer: 1\r\n\r\n")
    elif how == 1:
        writer.write(head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        await asyncio.sleep(0.01)
        writer.write(body)
    else:
        writer.write(head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    await writer.drain()


async def pipelined(where: Where) -> None:
    """Many requests in one write, and their answers in order."""
    bodies = [b"%d" % number for number in range(where.random.randrange(2, 30))]
    async with connected(where) as (reader, writer):
        writer.write(
            b"".join(
                b"POST /echo HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body) for body in bodies
            )
        )
        for body in bodies:
            assert (await read_answer(reader))[2] == body, "answers out of order"
            where.done.calls += 1


async def until_close(where: Where) -> None:
    """HTTP/1.0, and an answer that ends with its connection; the client has ended before that."""
    body = a_body(where)
    async with connected(where) as (reader, writer):
        writer.write(b"POST /close HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.write_eof()
        assert (await read_answer(reader))[2] == body, "another body"
        where.done.calls += 1


async def events(where: Where) -> None:
    """An event stream, sometimes left in the middle, with RST or without."""
    async with connected(where) as (reader, writer):
        writer.write(b"GET /events HTTP/1.1\r\nHost: m\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        where.done.calls += 1
        for _ in range(where.random.choice((1, 5, 20))):
            await reader.readuntil(b"\n\n")
        if where.random.random() < 0.5:
            reset(writer)


async def tunnel(where: Where) -> None:
    """An upgrade or CONNECT, and then what nobody here knows; two records."""
    async with connected(where) as (reader, writer):
        if where.random.random() < 0.5:
            writer.write(b"GET /upgrade HTTP/1.1\r\nHost: m\r\nConnection: upgrade\r\nUpgrade: soak\r\n\r\n")
        else:
            writer.write(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        where.done.calls += 2
        for _ in range(5):
            sent = where.random.randbytes(where.random.randrange(1, 5000))
            writer.write(sent)
            assert await reader.readexactly(len(sent)) == sent, "other bytes in a tunnel"
        writer.write_eof()
        assert await reader.read() == b""


async def websocket(where: Where) -> None:
    """Messages of a WebSocket, which the model says back; two records."""
    async with connected(where) as (reader, writer):
        writer.write(
            b"GET /websocket HTTP/1.1\r\nHost: m\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        where.done.calls += 2
        for _ in range(where.random.randrange(1, 9)):
            opcode = where.random.choice((Opcode.TEXT, Opcode.BINARY, Opcode.PING))
            sent = Frame(opcode, a_body(where)[: 120 if opcode is Opcode.PING else None]).serialize(mask=True)
            writer.write(sent)
            assert await reader.readexactly(len(sent)) == sent, "other bytes in a WebSocket"
        if where.random.random() < 0.5:
            reset(writer)


async def slow_reader(where: Where) -> None:
    """A large answer, read in sips; sometimes not to its end."""
    async with connected(where) as (reader, writer):
        writer.write(b"GET /large HTTP/1.1\r\nHost: m\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        where.done.calls += 1
        for _ in range(10):
            await reader.readexactly(LARGE // 40)
            await asyncio.sleep(0.05)
        if where.random.random() < 0.5:
            reset(writer)
        else:
            await reader.readexactly(LARGE - 10 * (LARGE // 40))


async def aborted_upload(where: Where) -> None:
    """A request that is broken off once the model knows of it."""
    path = b"/echo?token=%d" % next(_tokens)
    async with connected(where) as (_, writer):
        writer.write(b"POST %b HTTP/1.1\r\nContent-Length: 100000\r\n\r\nhalf" % path)
        await where.model.arrival(path)
        where.done.calls += 1
        reset(writer)


async def model_breaks_off(where: Where) -> None:
    """An answer that the model breaks off with RST."""
    async with connected(where) as (reader, writer):
        writer.write(b"GET /reset HTTP/1.1\r\nHost: m\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        where.done.calls += 1


async def cut_head(where: Where) -> None:
    """A head that never ends, which is no call."""
    async with connected(where) as (_, writer):
        writer.write(b"GET /never HTTP/1.1\r\nHost: m")
        await writer.drain()
        if where.random.random() < 0.5:
            reset(writer)


async def ambiguous(where: Where) -> None:
    """What two readers could read differently; nothing is added behind it."""
    async with connected(where) as (reader, writer):
        writer.write(
            b"POST /echo HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )
        status, fields, _ = await read_answer(reader)
        assert status == 400
        assert b"x-request-id" not in fields, "an id was added behind ambiguous framing"
        where.done.calls += 1


async def garbage(where: Where) -> None:
    """Bytes of no protocol, which come back three times at first."""
    sent = bytes((where.random.randrange(128, 256),)) + where.random.randbytes(where.random.randrange(3000))
    async with connected(where) as (reader, writer):
        writer.write(sent)
        expected = sent[:1] * 3 + sent[1:]
        assert await reader.readexactly(len(expected)) == expected, "other bytes"
        where.done.calls += 1
        if where.random.random() < 0.5:
            reset(writer)


async def nothing(where: Where) -> None:
    """A connection on which nobody says anything."""
    async with connected(where) as (_, writer):
        if where.random.random() < 0.5:
            reset(writer)


async def not_reading(where: Where) -> None:
    """Pipelined requests for large answers, of which nobody reads anything for a while."""
    async with connected(where) as (reader, writer):
        writer.transport.pause_reading()
        writer.write(b"GET /large HTTP/1.1\r\nHost: m\r\n\r\n" * 4)
        await asyncio.sleep(0.5)
        writer.transport.resume_reading()
        await reader.readexactly(1)
        where.done.calls += 4  # one write, so one read of the relay
        reset(writer)


SESSIONS = (
    *(keep_alive, keep_alive, keep_alive, pipelined, until_close, events, tunnel, websocket),
    *(slow_reader, aborted_upload, model_breaks_off, cut_head, ambiguous, garbage, nothing, not_reading),
)
