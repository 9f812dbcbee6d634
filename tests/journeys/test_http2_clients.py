"""Journeys 2 and 6 for plain HTTP/2: httpx and curl, events as they leave, streams that break off."""

import json
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import h2.config
import h2.connection
import h2.events
import httpx
import pytest

from infertap import v1

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar

    StartModel = Callable[[Callable[[socket.socket], None]], Model]
    StartSidecar = Callable[..., Sidecar]

SECONDS = 30
EVENTS = [
    b"data: %s\n\n"
    % json.dumps({"model": "m", "choices": [{"index": 0, "delta": {"content": word}}]}).encode()
    for word in ("one ", "two ", "three")
]
STREAM_HEADERS = [(":status", "200"), ("content-type", "text/event-stream")]


class Http2Model:
    """One HTTP/2 connection of a model: each request is answered by `answer(self, stream, body)`."""

    def __init__(self, answer: Callable[["Http2Model", int, bytes], None]) -> None:
        self.answer = answer
        self.client_has_left = threading.Event()

    def __call__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.h2.initiate_connection()
        self.flush()
        try:
            self._serve(connection)
        finally:
            self.client_has_left.set()

    def _serve(self, connection: socket.socket) -> None:
        bodies: dict[int, bytes] = {}
        while data := connection.recv(1 << 16):
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    assert event.stream_id is not None
                    bodies[event.stream_id] = bodies.get(event.stream_id, b"") + (event.data or b"")
                    self.h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    assert event.stream_id is not None
                    self.answer(self, event.stream_id, bodies.pop(event.stream_id, b""))
                elif isinstance(event, h2.events.StreamReset):
                    self.client_has_left.set()
            self.flush()

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def head(self, stream: int, headers: list[tuple[str, str]], *, ends: bool = False) -> None:
        self.h2.send_headers(stream, headers, end_stream=ends)
        self.flush()

    def data(self, stream: int, data: bytes, *, ends: bool = False) -> None:
        self.h2.send_data(stream, data, end_stream=ends)
        self.flush()

    def reset(self, stream: int, code: int) -> None:
        self.h2.reset_stream(stream, code)
        self.flush()

    def break_off(self) -> None:
        """RST to the whole connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def url_of(sidecar: "Sidecar", path: str) -> str:
    host, port = sidecar.address
    return f"http://{host}:{port}{path}"


def http2_client() -> httpx.Client:
    """HTTP/2 with prior knowledge (RFC 9113, section 3.3)."""
    return httpx.Client(http1=False, http2=True, timeout=SECONDS)


def seen_words(record: v1.Record) -> str:
    return str(json.loads(record.response.decoded_json)["choices"][0]["message"]["content"])


def echo(model: Http2Model, stream: int, body: bytes) -> None:
    model.head(stream, [(":status", "200"), ("content-type", "application/json")])
    model.data(stream, body, ends=True)


def test_httpx_over_one_connection(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """Calls one after the other over one HTTP/2 connection; ids are added, bodies are as sent."""
    sidecar = start_sidecar(start_model(Http2Model(echo)).address)
    with http2_client() as client:
        answers = [client.post(url_of(sidecar, f"/rank/{each}?k=1"), json={"n": each}) for each in range(20)]
    assert [answer.json()["n"] for answer in answers] == list(range(20))
    assert {answer.http_version for answer in answers} == {"HTTP/2"}
    records = {record.request_id: record for record in sidecar.await_records(20)}
    for number, answer in enumerate(answers):
        record = records[answer.headers["x-request-id"]]
        assert (record.protocol, record.method, record.path) == (v1.HTTP2, "POST", f"/rank/{number}")
        assert (record.state, record.http_status, record.query) == (v1.COMPLETED, 200, "k=1")
        assert record.request.data == record.response.data == answer.content


def test_curl(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """curl with prior knowledge of HTTP/2."""
    sidecar = start_sidecar(start_model(Http2Model(echo)).address)
    curl = ["curl", "-sS", "--max-time", str(SECONDS), "--http2-prior-knowledge"]
    body = '{"mail": "ada@example.org"}'
    done = subprocess.run(
        [*curl, "-H", "Content-Type: application/json", "-d", body, url_of(sidecar, "/x")],
        check=True,
        capture_output=True,
    )
    assert done.stdout.decode() == body
    [record] = sidecar.await_records(1)
    assert (record.protocol, record.http_status) == (v1.HTTP2, 200)
    assert json.loads(record.response.data) == {"mail": "<email>"}


def test_events_arrive_as_they_leave(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """Each event reaches its reader before the model sends the next; the record has all their times."""
    events = [b'data: {"number": %d}\n\n' % number for number in range(20)]
    next_one = threading.Semaphore(0)

    def answer(model: Http2Model, stream: int, _: bytes) -> None:
        model.head(stream, STREAM_HEADERS)
        for event in events:
            assert next_one.acquire(timeout=SECONDS)
            model.data(stream, event)
        assert next_one.acquire(timeout=SECONDS)
        model.data(stream, b"", ends=True)

    sidecar = start_sidecar(start_model(Http2Model(answer)).address)
    with http2_client() as client, client.stream("GET", url_of(sidecar, "/events")) as streamed:
        pieces = streamed.iter_raw()
        for event in events:
            next_one.release()
            assert next(pieces) == event
        next_one.release()
        assert list(pieces) == []
    [record] = sidecar.await_records(1)
    assert (record.state, record.response.data) == (v1.COMPLETED, b"".join(events))
    assert [piece.size_bytes for piece in record.response.pieces] == list(map(len, events))
    offsets = [piece.offset_us for piece in record.response.pieces]
    assert offsets == sorted(set(offsets))


# -- broken off


def sends_events_and(then: Callable[[Http2Model, int], Any]) -> Callable[[Http2Model, int, bytes], None]:
    def answer(model: Http2Model, stream: int, _: bytes) -> None:
        model.head(stream, STREAM_HEADERS)
        for event in EVENTS:
            model.data(stream, event)
        then(model, stream)

    return answer


class RawClient:
    """An HTTP/2 client that can break off as it likes."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()

    def request_and_read(self, wanted: bytes) -> None:
        """Send a request, and read until `wanted` has come."""
        target = (":scheme", "http"), (":path", "/v1/chat/completions"), (":authority", "m")
        self.h2.send_headers(1, [(":method", "POST"), *target], end_stream=True)
        self.socket.sendall(self.h2.data_to_send())
        read = b""
        while read != wanted:
            for event in self.h2.receive_data(self.socket.recv(1 << 16)):
                if isinstance(event, h2.events.DataReceived):
                    read += event.data or b""

    def reset_stream(self) -> None:
        self.h2.reset_stream(1, 8)  # CANCEL
        self.socket.sendall(self.h2.data_to_send())

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@pytest.mark.parametrize(
    "break_off", [RawClient.reset_stream, RawClient.reset, RawClient.close], ids=["RST_STREAM", "RST", "FIN"]
)
def test_client_leaves_a_stream(
    start_model: "StartModel", start_sidecar: "StartSidecar", break_off: Callable[[RawClient], None]
) -> None:
    """A client that ends stream or connection too soon cancels the call; what it got is in the record."""
    http2_model = Http2Model(sends_events_and(lambda *_: None))
    sidecar = start_sidecar(start_model(http2_model).address)
    with sidecar.connect() as connection:
        client = RawClient(connection)
        client.request_and_read(b"".join(EVENTS))
        break_off(client)
        [record] = sidecar.await_records(1)
        assert http2_model.client_has_left.wait(SECONDS)
    assert (record.state, record.ended_by) == (v1.CANCELLED, v1.EndedBy.CLIENT)
    assert (record.http_status, record.response.data) == (200, b"".join(EVENTS))
    assert seen_words(record) == "one two three"
    assert sidecar.await_settled()["calls"]["seen"] == 1


@pytest.mark.parametrize(
    "break_off",
    [
        lambda model, stream: model.reset(stream, 2),
        lambda model, _: model.break_off(),
        lambda model, _: model.socket.close(),
    ],
    ids=["RST_STREAM", "RST", "FIN"],
)
def test_model_breaks_off(
    start_model: "StartModel", start_sidecar: "StartSidecar", break_off: Callable[[Http2Model, int], Any]
) -> None:
    """A stream or connection that the model ends too soon has failed; what came before is in the record."""
    client_has_all = threading.Event()

    def wait_and_break_off(model: Http2Model, stream: int) -> None:
        assert client_has_all.wait(SECONDS)
        break_off(model, stream)
        if model.socket.fileno() < 0:
            raise ConnectionError  # its own end: nothing more to serve

    sidecar = start_sidecar(start_model(Http2Model(sends_events_and(wait_and_break_off))).address)
    with http2_client() as client, client.stream("POST", url_of(sidecar, "/v1/chat/completions")) as answer:
        pieces = answer.iter_raw()
        read = b""
        while read != b"".join(EVENTS):
            read += next(pieces)
        client_has_all.set()
        with pytest.raises(httpx.TransportError):
            next(pieces)
    [record] = sidecar.await_records(1)
    assert (record.state, record.ended_by) == (v1.FAILED, v1.EndedBy.MODEL_ABORTED)
    assert (record.http_status, seen_words(record)) == (200, "one two three")
