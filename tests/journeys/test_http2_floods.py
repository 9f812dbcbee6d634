"""Floods of HTTP/2 against real processes: they pass or are refused, are counted, and harm nobody else."""

import queue
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.errors
import h2.events
import hpack
import pytest

from infertap import v1
from tests.journeys.conftest import await_true

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar

    StartModel = Callable[[Callable[[socket.socket], None]], Model]
    StartSidecar = Callable[..., Sidecar]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS = [(":method", "POST"), (":scheme", "http"), (":path", "/v1/x"), (":authority", "m")]
GOOD = "/v1/good"
BLOCK = hpack.Encoder().encode(HEADERS, huffman=False)
DATA, HEADERS_FRAME, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def frames(connection: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, flags, stream and payload of each frame that comes."""
    data = b""
    while piece := connection.recv(1 << 16):
        data += piece
        while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
            end = 9 + int.from_bytes(data[:3], "big")
            yield data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:end]
            data = data[end:]


def answers_all(connection: socket.socket) -> None:
    """A model that answers each request with its headers, and takes whatever comes."""
    if connection.recv(len(PREFACE), socket.MSG_WAITALL) != PREFACE:
        return  # refused before anything was sent on
    connection.sendall(frame(SETTINGS, 0, 0, b""))
    for kind, flags, stream, _ in frames(connection):
        if kind == SETTINGS and not flags & ACK:
            connection.sendall(frame(SETTINGS, ACK, 0, b""))
        elif kind == HEADERS_FRAME and flags & END_STREAM:
            connection.sendall(frame(HEADERS_FRAME, END_HEADERS | END_STREAM, stream, b"\x88"))


def rapid_resets(count: int) -> bytes:
    return b"".join(
        frame(HEADERS_FRAME, END_HEADERS | END_STREAM, stream, BLOCK)
        + frame(RST_STREAM, 0, stream, b"\0\0\0\x08")
        for stream in range(1, 2 * count, 2)
    )


FLOODS = {
    "rapid reset": rapid_resets(5000),
    "PING": frame(PING, 0, 0, bytes(8)) * 20_000,
    "SETTINGS": frame(SETTINGS, 0, 0, b"") * 1000,
    "CONTINUATION": frame(HEADERS_FRAME, END_STREAM, 1, BLOCK) + frame(CONTINUATION, 0, 1, b"") * 20_000,
    "header bomb": frame(HEADERS_FRAME, END_HEADERS | END_STREAM, 1, BLOCK + b"\x82" * 15_000),
}


def metric(sidecar: "Sidecar", name: str) -> float:
    [line] = [line for line in sidecar.get("/metrics")[1].splitlines() if line.startswith(f"{name}{{")]
    return float(line.rpartition(" ")[2])


class GoodClient:
    """A client that makes one call after another over a connection of its own."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()
        self.heard: list[h2.events.Event] = []

    def send(self) -> int:
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [*HEADERS[:2], (":path", GOOD), HEADERS[3]], end_stream=True)
        self._socket.sendall(self.h2.data_to_send())
        return stream

    def read_until(self, kind: type[h2.events.Event]) -> h2.events.Event:
        while True:
            for place, event in enumerate(self.heard):
                if isinstance(event, kind):
                    del self.heard[: place + 1]
                    return event
            data = self._socket.recv(1 << 16)
            assert data, f"ended without {kind.__name__}"
            self.heard += self.h2.receive_data(data)

    def call(self) -> None:
        self.send()
        self.read_until(h2.events.StreamEnded)


@pytest.mark.parametrize("name", FLOODS)
def test_flood_harms_nobody_else(start_model: "StartModel", start_sidecar: "StartSidecar", name: str) -> None:
    """A flood is counted and relayed; before, beside and after it another client's calls are recorded."""
    sidecar = start_sidecar(start_model(answers_all).address, sample_error_rate="0")
    with sidecar.connect() as good, sidecar.connect() as attacker:
        client = GoodClient(good)
        client.call()
        attacker.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        flood = FLOODS[name]
        half = len(flood) // 2
        attacker.sendall(flood[:half])
        client.call()
        attacker.sendall(flood[half:])
        client.call()
        sidecar.await_account(lambda _: metric(sidecar, "infertap_relay_budget_exceeded_total") == 1)
        client.call()
    sidecar.await_settled()
    good_calls = [record for record in sidecar.records() if record.path == GOOD]
    assert [record.state for record in good_calls] == [v1.COMPLETED] * 4


@pytest.mark.parametrize("name", ["rapid reset", "PING"])
def test_flood_is_refused(start_model: "StartModel", start_sidecar: "StartSidecar", name: str) -> None:
    """Where what can't be recorded is refused, the attacker is told to calm down and the connection ends."""
    sidecar = start_sidecar(start_model(answers_all).address, unrecordable="refuse")
    with sidecar.connect() as attacker:
        attacker.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        heard: list[tuple[int, int, int, bytes]] = []
        try:
            for place in range(0, len(FLOODS[name]), 4096):
                attacker.sendall(FLOODS[name][place : place + 4096])
            heard.extend(frames(attacker))
        except ConnectionError:
            pass  # it may be cut off while it still sends
    assert [payload[4:] for kind, _, _, payload in heard if kind == GOAWAY] in ([], [b"\0\0\0\x0b"])
    sidecar.await_account(lambda _: metric(sidecar, "infertap_relay_connections_refused_total") == 1)
    sidecar.await_settled()


def test_goaway_on_drain(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """After SIGTERM a call in flight gets its answer, then its client GOAWAY, and the connection ends."""
    held: queue.Queue[socket.socket] = queue.Queue()

    def answers_late(connection: socket.socket) -> None:
        connection.sendall(frame(SETTINGS, 0, 0, b""))
        held.put(connection)
        while connection.recv(1 << 16):
            pass

    sidecar = start_sidecar(start_model(answers_late).address, drain_seconds="20")
    with sidecar.connect() as busy:
        client = GoodClient(busy)
        client.send()
        sidecar.await_account(lambda account: account["calls"]["open"] == 1)
        sidecar.process.terminate()
        sidecar.await_account(lambda _: not sidecar.is_ready())
        held.get(timeout=20).sendall(frame(HEADERS_FRAME, END_HEADERS | END_STREAM, 1, b"\x88"))
        client.read_until(h2.events.StreamEnded)
        ended = client.read_until(h2.events.ConnectionTerminated)
        assert isinstance(ended, h2.events.ConnectionTerminated)
        assert (ended.error_code, ended.last_stream_id) == (h2.errors.ErrorCodes.NO_ERROR, (1 << 31) - 1)
        while busy.recv(1 << 16):
            pass
    assert sidecar.process.wait(20) == 0
    [last] = sidecar.events("sidecar ended")
    assert last["balanced"]


def own_memory(pid: int) -> int:
    """RssAnon of a process, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) << 10


def huffman_request(stream: int) -> bytes:
    """A request with a field that no other stream has, as real clients encode it."""
    return frame(
        HEADERS_FRAME, END_HEADERS, stream, BLOCK + b"\0\1x" + huffman_string(b"%08d" % (stream * 7919))
    )


def huffman_string(text: bytes) -> bytes:
    encoded = hpack.Encoder().huffman_coder.encode(text)
    return bytes((0x80 | len(encoded),)) + encoded


def test_memory_of_open_streams_comes_back(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """What many connections full of open streams took is given back once they are gone."""

    def answers_nothing(connection: socket.socket) -> None:
        connection.sendall(frame(SETTINGS, 0, 0, b""))
        while connection.recv(1 << 18):
            pass

    sidecar = start_sidecar(start_model(answers_nothing).address, sample_rate="0", sample_error_rate="0")
    requests = b"".join(huffman_request(stream) for stream in range(1, 4001, 2))
    relay = sidecar.pid("relay 0")
    before = own_memory(relay)
    clients = [sidecar.connect() for _ in range(20)]
    for client in clients:
        client.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + requests)
    sidecar.await_account(lambda account: account["calls"]["open"] == 40_000)
    full = own_memory(relay)
    assert full > before + (40 << 20)
    for client in clients:
        client.close()
    sidecar.await_account(lambda account: account["calls"]["open"] == 0)
    await_true(lambda: own_memory(relay) < before + (20 << 20), f"{full >> 20} MiB come back")
