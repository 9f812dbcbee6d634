"""Journey 1 for HTTP/2: every frame passes as it came, but for one header field appended to header blocks."""

import os
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events
import hpack
import pytest

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar

MIB = 1 << 20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS = 1
WINDOW = (1 << 31) - 1


class Endpoint:
    """One end of an HTTP/2 connection that keeps the bytes it sent and received."""

    def __init__(self, connection: socket.socket, client_side: bool) -> None:
        config = h2.config.H2Configuration(client_side=client_side, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        self.sent = bytearray()
        self.received = bytearray()
        self._socket = connection
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(WINDOW - 65_535)
        self.flush()

    def flush(self) -> None:
        data = self.h2.data_to_send()
        self.sent += data
        if data:
            self._socket.sendall(data)

    def events(self) -> Iterator[h2.events.Event]:
        """What comes, until the other end ends; received DATA is acknowledged."""
        while piece := self._socket.recv(MIB):
            self.received += piece
            for event in self.h2.receive_data(piece):
                if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                yield event
            self.flush()

    def send_body(self, stream: int, body: bytes, events: Iterator[h2.events.Event]) -> None:
        """`body` and the end of the stream, as flow control allows."""
        position = 0
        while position < len(body):
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room <= 0:
                next(events)
                continue
            self.h2.send_data(stream, body[position : position + room])
            position += room
            self.flush()
        self.h2.end_stream(stream)
        self.flush()


def frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """(type, flags, stream, payload) of each frame."""
    found = []
    position = len(PREFACE) if data.startswith(PREFACE) else 0
    while position < len(data):
        length = int.from_bytes(data[position : position + 3], "big")
        kind, flags = data[position + 3], data[position + 4]
        stream = int.from_bytes(data[position + 5 : position + 9], "big")
        found.append((kind, flags, stream, data[position + 9 : position + 9 + length]))
        position += 9 + length
    return found


def added_ids(sent: bytes, received: bytes) -> list[bytes]:
    """The values of the fields appended on the way; asserts that nothing else differs."""
    ids = []
    left, arrived = frames(sent), frames(received)
    assert len(left) == len(arrived)
    for before, after in zip(left, arrived, strict=True):
        if before[0] == HEADERS and before != after:
            assert after[:3] == before[:3]
            assert after[3].startswith(before[3])
            field = hpack.Decoder().decode(after[3][len(before[3]) :], raw=True)
            assert [name for name, _ in field] == [b"x-request-id"]
            ids.append(field[0][1])
        else:
            assert before == after
    return ids


def serve(connection: socket.socket, answers: dict[bytes, bytes], ends: list[Endpoint]) -> None:
    """Answer each request, once it has ended, with the body for its path and trailers."""
    model = Endpoint(connection, client_side=False)
    ends.append(model)
    paths: dict[int, bytes] = {}
    events = model.events()
    for event in events:
        if isinstance(event, h2.events.RequestReceived):
            paths[event.stream_id] = dict(event.headers)[b":path"]
        elif isinstance(event, h2.events.StreamEnded):
            stream = event.stream_id
            model.h2.send_headers(stream, [(":status", "200"), ("content-type", "x/y")])
            model.send_body(stream, answers[paths[stream]], events)


@pytest.mark.parametrize("sizes", [[0], [1], [1000, 0, 70_000], [MIB], [64 * MIB]])
def test_http2_bodies_of_every_size(
    start_model: "Callable[..., Model]", start_sidecar: "Callable[..., Sidecar]", sizes: list[int]
) -> None:
    """Frames pass as they are, both ways; each request and response gets one id, the same on both sides."""
    bodies = [os.urandom(size) for size in sizes]
    answers = {b"/%d" % number: body for number, body in enumerate(bodies)}
    ends: list[Endpoint] = []
    sidecar = start_sidecar(start_model(lambda connection: serve(connection, answers, ends)).address)
    with sidecar.connect() as sock:
        client = Endpoint(sock, client_side=True)
        events = client.events()
        got: dict[int, bytearray] = {}
        for number, body in enumerate(bodies):
            stream = client.h2.get_next_available_stream_id()
            path = [(":method", "POST"), (":scheme", "http"), (":authority", "m"), (":path", f"/{number}")]
            client.h2.send_headers(stream, path)
            client.send_body(stream, body, events)
            got[stream] = bytearray()
            for event in events:
                if isinstance(event, h2.events.DataReceived):
                    got[event.stream_id] += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    break
        client.flush()
        sock.shutdown(socket.SHUT_WR)
        for _ in events:
            pass  # until the model has seen our end and ended too
    (model,) = ends
    assert list(got.values()) == bodies
    sent_on = added_ids(bytes(client.sent), bytes(model.received))
    sent_back = added_ids(bytes(model.sent), bytes(client.received))
    assert len(sent_on) == len(sizes)
    assert sent_back == sent_on
    sidecar.await_account(lambda account: account["calls"]["seen"] == len(sizes))
