"""HTTP/2 and gRPC clients: `h2` by hand, which can break the rules of good behaviour, and grpcio."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc
import h2.config
import h2.connection
import h2.events
import h2.settings

from tests.soak.http1_sessions import Where, a_body, connected
from tests.soak.model import reset

_HEADERS = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"m"), (b"x-long", b"y" * 100)]


class _Client:
    """One connection of `h2`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, table: int) -> None:
        self.reader, self.writer = reader, writer
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(1 << 24)
        self.h2.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: table})
        self.ended: dict[int, bytes] = {}
        self.begun: set[int] = set()
        self.reset: set[int] = set()
        self.bodies: dict[int, bytes] = {}

    def ask(self, path: bytes, body: bytes) -> int:
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [(b":path", path), *_HEADERS])
        for at in range(0, len(body), 9000):
            self.h2.send_data(stream, body[at : at + 9000], pad_length=len(body) % 50 or None)
        self.h2.end_stream(stream)
        self.bodies[stream] = b""
        return stream

    async def until(self, streams: set[int], *, ended: bool = True) -> None:
        """Until those streams are over, or have begun to be answered."""
        self.flush()
        while not streams <= (set(self.ended) | self.reset if ended else self.begun | self.reset):
            data = await self.reader.read(1 << 16)
            if not data:
                raise ConnectionError("the model ended")
            for event in self.h2.receive_data(data):
                self._take(event)
            self.flush()

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            assert event.headers[-1][0] == b"x-request-id", "no request id in the answer"
            self.begun.add(event.stream_id)
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended[event.stream_id] = self.bodies.pop(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.reset.add(event.stream_id)


async def streams(where: Where) -> None:
    """Streams beside each other, some of which either side breaks off; in the end perhaps the connection."""
    async with connected(where) as (reader, writer):
        client = _Client(reader, writer, where.random.choice((0, 64, 4096, 65_536)))
        for _ in range(where.random.randrange(1, 5)):
            asked = {client.ask(b"/echo", body): body for body in [a_body(where, 9000) for _ in range(4)]}
            broken = client.ask(b"/reset", b"x")
            await client.until({*asked, broken})
            where.done.calls += 5
            assert {stream: client.ended[stream] for stream in asked} == asked, "another body"
            left = client.ask(b"/echo", b"y" * 3000)
            await client.until({left}, ended=False)
            where.done.calls += 1
            if left not in client.ended:
                client.h2.reset_stream(left, 8)
                client.flush()
        if where.random.random() < 0.3:
            reset(writer)


async def going_away(where: Where) -> None:
    """The model says goodbye after an answer."""
    async with connected(where) as (reader, writer):
        client = _Client(reader, writer, 4096)
        await client.until({client.ask(b"/bye", b"x")})
        where.done.calls += 1


async def rapid_resets(where: Where) -> None:
    """Requests that are taken back at once."""
    async with connected(where) as (reader, writer):
        client = _Client(reader, writer, 4096)
        count = where.random.randrange(1, 40)
        for _ in range(count):
            client.h2.reset_stream(client.ask(b"/echo", b""), 8)
        await client.until({client.ask(b"/echo", b"z")})
        where.done.calls += count + 1


async def grpc_calls(where: Where) -> None:
    """A channel of grpcio: unary calls beside each other, a conversation, and one that is cancelled."""
    async with grpc.aio.insecure_channel(f"{where.host}:{where.grpc_port}") as channel:
        one = channel.unary_unary("/soak.Echo/One")
        bodies = [a_body(where) for _ in range(6)]
        answers = await asyncio.gather(*(one(body, timeout=30) for body in bodies))
        assert answers == [body[::-1] for body in bodies], "another answer"
        where.done.calls += 6

        async def said() -> AsyncIterator[bytes]:
            for number in range(10):
                yield b"%d" % number

        chat = channel.stream_stream("/soak.Echo/Chat")
        heard = [answer async for answer in chat(said(), timeout=30)]
        assert heard == [b"re %d" % number for number in range(10)], "another conversation"
        where.done.calls += 1
        call = chat()
        await call.write(b"hello")
        assert await call.read() == b"re hello"
        where.done.calls += 1
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call.read()


SESSIONS = (streams, streams, going_away, rapid_resets, grpc_calls, grpc_calls)
