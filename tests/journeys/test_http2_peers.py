"""Journey 2, what HTTP/2 peers do more seldom: huge frames, thousands of streams, pushes, GOAWAY, padding."""

import collections
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import TYPE_CHECKING

import grpc
import h2.config
import h2.connection
import h2.events
import pytest
from h2.settings import SettingCodes

from infertap import v1

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar

    StartModel = Callable[[Callable[[socket.socket], None]], Model]
    StartSidecar = Callable[..., Sidecar]

SECONDS = 30
LARGEST_FRAME = (1 << 24) - 1
LARGEST_WINDOW = (1 << 31) - 1
REQUEST = [(":method", "POST"), (":scheme", "http"), (":authority", "m"), (":path", "/v1/x")]
ANSWER = [(":status", "200"), ("content-type", "text/plain")]


class Peer:
    """One end of a connection of `h2`, with frames and windows as large as they can be."""

    def __init__(self, connection: socket.socket, client_side: bool) -> None:
        self.socket = connection
        config = h2.config.H2Configuration(client_side=client_side, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.h2.update_settings(
            {SettingCodes.MAX_FRAME_SIZE: LARGEST_FRAME, SettingCodes.INITIAL_WINDOW_SIZE: LARGEST_WINDOW}
        )
        self.h2.increment_flow_control_window(LARGEST_WINDOW - 65_535)
        self.flush()

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def events(self) -> Iterator[h2.events.Event]:
        """What comes, until the other end ends."""
        while data := self.socket.recv(1 << 20):
            events = self.h2.receive_data(data)
            self.flush()
            yield from events


def serving(answer: Callable[[Peer, int, list[bytes]], None]) -> Callable[[socket.socket], None]:
    """A model that answers each whole request, given the DATA frames that it came in."""

    def serve(connection: socket.socket) -> None:
        peer = Peer(connection, client_side=False)
        frames: collections.defaultdict[int, list[bytes]] = collections.defaultdict(list)
        for event in peer.events():
            if isinstance(event, h2.events.DataReceived):
                frames[event.stream_id].append(event.data)
                peer.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                answer(peer, event.stream_id, frames.pop(event.stream_id, []))
                peer.flush()

    return serve


def echo(peer: Peer, stream: int, frames: list[bytes]) -> None:
    peer.h2.send_headers(stream, ANSWER)
    for number, frame in enumerate(frames, 1):
        peer.h2.send_data(stream, frame, end_stream=number == len(frames))
    if not frames:
        peer.h2.end_stream(stream)


def test_frames_of_16_mib(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """A frame as large as one can be passes both ways as one frame."""
    sidecar = start_sidecar(start_model(serving(echo)).address)
    body = bytes(LARGEST_FRAME)
    with sidecar.connect() as connection:
        client = Peer(connection, client_side=True)
        events = client.events()
        client.h2.ping(b"settings")  # answered once the model has read our acknowledgement of its settings
        client.flush()
        while not isinstance(next(events), h2.events.PingAckReceived):
            pass
        client.h2.send_headers(1, REQUEST)
        client.h2.send_data(1, body, end_stream=True)
        sender = threading.Thread(target=client.flush)
        sender.start()
        data = next(event for event in events if isinstance(event, h2.events.DataReceived))
        sender.join(SECONDS)
    assert data.data == body
    [record] = sidecar.await_records(1)
    assert (record.request.size_bytes, record.response.size_bytes) == (LARGEST_FRAME, LARGEST_FRAME)
    assert record.request.truncated


def test_thousands_of_streams_on_one_connection(
    start_model: "StartModel", start_sidecar: "StartSidecar"
) -> None:
    """Two thousand calls, a hundred at a time: each gets its own answer, and each is seen once."""
    sidecar = start_sidecar(start_model(serving(echo)).address)
    bodies: dict[int, bytes] = {}
    with sidecar.connect() as connection:
        client = Peer(connection, client_side=True)
        events = client.events()
        for _ in range(20):
            asked = set()
            for _ in range(100):
                stream = client.h2.get_next_available_stream_id()
                client.h2.send_headers(stream, REQUEST)
                client.h2.send_data(stream, b"%d" % stream, end_stream=True)
                asked.add(stream)
            client.flush()
            while asked:
                event = next(events)
                if isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
                elif isinstance(event, h2.events.StreamEnded):
                    asked.remove(event.stream_id)
    assert bodies == {stream: b"%d" % stream for stream in range(1, 4000, 2)}
    calls = sidecar.await_settled()["calls"]
    assert (calls["seen"], calls["opaque"]) == (2000, 0)


def test_pushes_pass(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """What a model pushes reaches the client as it is, and is no call; the call beside it goes on."""

    def push(peer: Peer, stream: int, _: list[bytes]) -> None:
        peer.h2.push_stream(stream, 2, [(":method", "GET"), *REQUEST[1:3], (":path", "/pushed")])
        peer.h2.send_headers(2, ANSWER)
        peer.h2.send_data(2, b"pushed", end_stream=True)
        peer.h2.send_headers(stream, ANSWER)
        peer.h2.send_data(stream, b"asked", end_stream=True)

    sidecar = start_sidecar(start_model(serving(push)).address)
    with sidecar.connect() as connection:
        client = Peer(connection, client_side=True)
        client.h2.send_headers(1, REQUEST, end_stream=True)
        client.flush()
        heard: dict[int, bytes] = {}
        for event in client.events():
            if isinstance(event, h2.events.DataReceived):
                heard[event.stream_id] = event.data
            if len(heard) == 2:
                break
    assert heard == {1: b"asked", 2: b"pushed"}
    [record] = sidecar.await_records(1)
    assert (record.path, record.response.data) == ("/v1/x", b"asked")


def test_goaway_of_a_grpc_server(start_sidecar: "StartSidecar") -> None:
    """A server that ends each connection after a while: no call of grpcio fails, none is counted twice."""
    options = [("grpc.max_connection_age_ms", 300), ("grpc.max_connection_age_grace_ms", 5000)]
    with futures.ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, options=options)
        handler = grpc.unary_unary_rpc_method_handler(lambda request, _: request[::-1])
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("t.E", {"One": handler})])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        sidecar = start_sidecar(f"127.0.0.1:{port}")
        host, relay_port = sidecar.address
        calls = connections = 0
        with grpc.insecure_channel(f"{host}:{relay_port}") as channel:
            one = channel.unary_unary("/t.E/One")
            while connections < 3:
                assert one(b"abc", timeout=SECONDS) == b"cba"
                calls += 1
                if calls % 50 == 0:
                    connections = _metric(sidecar, "infertap_relay_connections_total")
        server.stop(0).wait(SECONDS)
    settled = sidecar.await_settled()["calls"]
    assert (settled["seen"], settled["opaque"]) == (calls, 0)


def _metric(sidecar: "Sidecar", name: str) -> int:
    lines = sidecar.get("/metrics")[1].splitlines()
    return sum(
        int(float(line.rpartition(" ")[2])) for line in lines if line.partition("{")[0].split(" ")[0] == name
    )


# -- nghttp2's tools, where they are


def answer_at_length(peer: Peer, stream: int, _: list[bytes]) -> None:
    peer.h2.send_headers(stream, [*ANSWER, ("x-number", str(stream)), ("x-long", "v" * 20_000)])
    peer.h2.send_data(stream, b"answer", end_stream=True, pad_length=77)


@pytest.mark.skipif(shutil.which("nghttp") is None, reason="needs nghttp (Debian: nghttp2-client)")
@pytest.mark.parametrize("table", [0, 4096])
def test_nghttp(start_model: "StartModel", start_sidecar: "StartSidecar", table: int) -> None:
    """A client in C that pads, continues header blocks, sends priorities and changes its table's size."""
    sidecar = start_sidecar(start_model(serving(answer_at_length)).address)
    host, port = sidecar.address
    command = ["nghttp", "--continuation", "--padding=200", f"--header-table-size={table}", "-m", "5"]
    done = subprocess.run(
        [*command, f"--timeout={SECONDS}", "-H", "x-sent: 1", f"http://{host}:{port}/a"],
        check=True,
        capture_output=True,
    )
    assert done.stdout == b"answer" * 5
    records = sidecar.await_records(5)
    assert {(record.protocol, record.path, record.response.data) for record in records} == {
        (v1.HTTP2, "/a", b"answer")
    }


@pytest.mark.skipif(shutil.which("h2load") is None, reason="needs h2load (Debian: nghttp2-client)")
def test_h2load(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """A thousand calls of h2load over four connections: all succeed and all are seen."""
    sidecar = start_sidecar(start_model(serving(echo)).address)
    host, port = sidecar.address
    command = ["h2load", "-n", "1000", "-c", "4", "-m", "20", f"http://{host}:{port}/a"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS).stdout
    assert "1000 succeeded, 0 failed" in printed
    assert sidecar.await_settled()["calls"]["seen"] == 1000
