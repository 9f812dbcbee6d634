"""A relay's listener and connections in the test's own process, between a raw client and a raw model."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
import uvloop

from infertap.settings import Address
from sidecar import config
from sidecar.config import Route
from sidecar.counters import CounterPage, Row
from sidecar.exchange import EndedBy
from sidecar.relay import Dialler, Listener, Traffic
from sidecar.tap import ConnectionFacts, Refused
from sidecar.tls import ClientContexts

WAIT_SECONDS = 20


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The relay is made for uvloop, and tested on it."""
    return {"uvloop": uvloop.new_event_loop}


class ScriptedTap:
    """Passes everything on, remembers what it was told, and fails where a test says so."""

    def __init__(self) -> None:
        self.client_held = b""
        self.model_held = b""
        self.told: list[str] = []
        self.fail_on: bytes | None = None
        self.hold_on: bytes | None = None
        self.fail_at_end = False
        self.refuse_on: bytes | None = None
        self.refusal = Refused()
        self.says_at_drain = b""
        self.held_since = -1
        self.is_idle = True
        self.weight = 0
        self.heard: list[tuple[bytes, int]] = []
        self.successor: ScriptedTap | None = None

    def _follow(self, data: bytes, held: bytes) -> tuple[bytes, bytes]:
        if self.refuse_on is not None and self.refuse_on in data:
            raise self.refusal
        if self.fail_on is not None and self.fail_on in data:
            raise LookupError(data.decode(errors="replace"))
        if self.hold_on is not None and data.endswith(self.hold_on):
            return held + data[: -len(self.hold_on)], self.hold_on
        return held + data, b""

    def from_client(self, data: bytes, now: int) -> bytes:
        self.heard.append((data, now))
        onward, self.client_held = self._follow(data, self.client_held)
        return onward

    def from_model(self, data: bytes, now: int) -> bytes:
        onward, self.model_held = self._follow(data, self.model_held)
        return onward

    def client_ended(self, now: int) -> bytes:
        if self.fail_at_end:
            raise LookupError
        self.told.append("client ended")
        return self.client_held

    def model_ended(self, now: int) -> bytes:
        self.told.append("model ended")
        return self.model_held

    def lost(self, by: EndedBy, now: int) -> None:
        self.told.append(f"lost by {by.name}")

    def tick(self, now: int) -> None:
        if self.fail_on == b"tick":
            raise LookupError
        self.told.append("tick")

    def drain(self, now: int) -> bytes:
        self.told.append("drain")
        return self.says_at_drain

    def give_up(self, why: str, now: int) -> tuple[bytes, bytes]:
        self.told.append(f"give up: {why}")
        if self.refuse_on == b"give up":
            raise self.refusal
        held = self.client_held, self.model_held
        self.client_held = self.model_held = b""
        self.held_since, self.weight = -1, 0
        return held

    def abandon(self, now: int) -> None:
        self.told.append("abandoned")


class Peer:
    """One end of a TCP connection, with what a test asks of it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def receive(self, count: int) -> bytes:
        """Exactly `count` bytes, fewer where the other end ends."""
        received = bytearray()
        async with asyncio.timeout(WAIT_SECONDS):
            while len(received) < count:
                piece = await asyncio.get_running_loop().sock_recv(
                    self.sock, min(count - len(received), 1 << 20)
                )
                if not piece:
                    break
                received += piece
        return bytes(received)

    async def receive_all(self) -> bytes:
        return await self.receive(1 << 40)

    def end(self) -> None:
        """No more from this side; the other direction stays."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


@dataclass
class Bench:
    """The relay under test."""

    address: Address
    row: Row
    traffic: Traffic
    listener: Listener
    model_socket: socket.socket
    taps: list[ScriptedTap] = field(default_factory=list)
    prepare: Callable[[ScriptedTap], None] = lambda tap: None
    facts: list[ConnectionFacts] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)

    async def client(self) -> Peer:
        sock = socket.socket()
        sock.setblocking(False)
        async with asyncio.timeout(WAIT_SECONDS):
            await asyncio.get_running_loop().sock_connect(sock, (self.address.host, self.address.port))
        self.peers.append(Peer(sock))
        return self.peers[-1]

    async def model(self) -> Peer:
        async with asyncio.timeout(WAIT_SECONDS):
            sock, _ = await asyncio.get_running_loop().sock_accept(self.model_socket)
        self.peers.append(Peer(sock))
        return self.peers[-1]

    async def joined(self) -> tuple[Peer, Peer]:
        """A client and its model connection."""
        client = await self.client()
        return client, await self.model()

    async def until(self, claim: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not claim():  # noqa: ASYNC110  (counters are memory: nothing to await)
                await asyncio.sleep(0.005)


def listening_socket() -> socket.socket:
    sock = socket.create_server(("127.0.0.1", 0), backlog=128)
    sock.setblocking(False)
    return sock


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    page = CounterPage.create(1)
    listening, model_socket = listening_socket(), listening_socket()

    def open_tap(facts: ConnectionFacts) -> ScriptedTap:
        tap = ScriptedTap()
        made.taps.append(tap)
        made.facts.append(facts)
        made.prepare(tap)
        return tap

    traffic = Traffic(page.relay(0), open_tap)
    route = Route(Address("127.0.0.1", 0), Address(*model_socket.getsockname()))
    dialler = Dialler(route, "http/1.1", ClientContexts(config.read({})))
    listener = Listener(listening, 0, dialler, traffic)
    made = Bench(Address(*listening.getsockname()), page.relay(0), traffic, listener, model_socket)
    listener.start()
    yield made
    listener.stop()
    for peer in made.peers:
        peer.close()
    for connection in list(traffic.connections):
        connection.reset()
    await made.until(lambda: made.row["connections_open"] == 0)
    listening.close()
    made.model_socket.close()
