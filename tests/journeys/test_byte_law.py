"""Journey 1: what passes is what came, less the one added header, over raw sockets (law 2)."""

import contextlib
import os
import random
import re
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar

    StartModel = Callable[[Callable[[socket.socket], None]], Model]
    StartSidecar = Callable[..., Sidecar]

KIB, MIB = 1 << 10, 1 << 20
ADDED_LINE = re.compile(rb"x-request-id: [\x21-\x7e]{1,128}\r\n")


def less_added(data: bytes) -> tuple[bytes, int]:
    """`data` without the header lines that the tap adds, and how many there were."""
    return ADDED_LINE.subn(b"", data)


@dataclass
class Conversation:
    """A model that sends each answer once so many bytes of the client, less added headers, have come."""

    answers: list[tuple[int, bytes]]
    received: bytearray = field(default_factory=bytearray)
    done: threading.Event = field(default_factory=threading.Event)

    def __call__(self, connection: socket.socket) -> None:
        for needed, answer in self.answers:
            while len(self.received) < needed or len(less_added(bytes(self.received))[0]) < needed:
                piece = connection.recv(MIB)
                if not piece:
                    break
                self.received += piece
            connection.sendall(answer)
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(MIB):
                self.received += piece
        self.done.set()


def talk(
    start_model: "StartModel", start_sidecar: "StartSidecar", sent: bytes, answers: list[tuple[int, bytes]]
) -> tuple[bytes, bytes]:
    """Send `sent`, then end; returns what the model and what the client received."""
    conversation = Conversation(answers)
    sidecar = start_sidecar(start_model(conversation).address)
    received = bytearray()

    def read(connection: socket.socket) -> None:
        while piece := connection.recv(MIB):
            received.extend(piece)

    with sidecar.connect() as client:
        reader = threading.Thread(target=read, args=(client,))
        reader.start()
        client.sendall(sent)
        wanted = sum(len(answer) for _, answer in answers)
        while len(received) < wanted and reader.is_alive():
            reader.join(0.01)
        client.shutdown(socket.SHUT_WR)
        reader.join(30)
        assert not reader.is_alive()
    assert conversation.done.wait(30)
    return bytes(conversation.received), bytes(received)


def post(body: bytes, extra: bytes = b"") -> bytes:
    return b"POST /v1/x HTTP/1.1\r\nHost: model\r\n%sContent-Length: %d\r\n\r\n%s" % (extra, len(body), body)


def ok(body: bytes, extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (extra, len(body), body)


def chunked(body: bytes, sizes: list[int], trailer: bytes = b"") -> bytes:
    """`body` in chunks of these sizes, over and over."""
    out = bytearray()
    position = turn = 0
    while position < len(body):
        piece = body[position : position + sizes[turn % len(sizes)]]
        out += b"%x\r\n%s\r\n" % (len(piece), piece)
        position += len(piece)
        turn += 1
    return bytes(out) + b"0\r\n" + trailer + b"\r\n"


@pytest.mark.parametrize("size", [0, 1, 1000, 65_536, MIB, 64 * MIB])
def test_http1_bodies_of_every_size(
    start_model: "StartModel", start_sidecar: "StartSidecar", size: int
) -> None:
    """A body up to 64 MiB passes unchanged both ways, with one header added to each head."""
    request, response = post(os.urandom(size)), ok(os.urandom(size))
    at_model, at_client = talk(start_model, start_sidecar, request, [(len(request), response)])
    assert less_added(at_model) == (request, 1)
    assert less_added(at_client) == (response, 1)


def test_http1_chunked_with_trailers(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """Chunk sizes, extensions and trailers pass as they are, both ways."""
    body = chunked(os.urandom(300_000), [1, 7, 4096, 70_000], b"x-sum: 1\r\n")
    request = b"POST /c HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"xyz" * 9000, [3, 1000])
    at_model, at_client = talk(start_model, start_sidecar, request, [(len(request), response)])
    assert less_added(at_model) == (request, 1)
    assert less_added(at_client) == (response, 1)


def test_http1_pipelined(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """Fifty requests in one write, and their responses, pass in order with one header each."""
    requests = [post(os.urandom(n * 37), b"n: %d\r\n" % n) for n in range(50)]
    responses = [ok(os.urandom(n * 41)) for n in range(50)]
    needed = 0
    answers = []
    for request, response in zip(requests, responses, strict=True):
        needed += len(request)
        answers.append((needed, response))
    at_model, at_client = talk(start_model, start_sidecar, b"".join(requests), answers)
    assert less_added(at_model) == (b"".join(requests), 50)
    assert less_added(at_client) == (b"".join(responses), 50)


def test_http1_ids_that_are_there_stay(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """A request and a response that have an id pass byte for byte."""
    mine = b"X-Request-ID: mine-1\r\n"
    request, response = post(b"a", mine), ok(b"b", b"x-Request-Id: theirs\r\n")
    assert talk(start_model, start_sidecar, request, [(len(request), response)]) == (request, response)


def test_http1_streams_arrive_as_they_leave(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """Each piece of a streamed response is with the client before the model sends the next."""
    turn = threading.Semaphore(0)
    events = [b"data: %d\n\n" % n for n in range(20)]

    def stream(connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for event in events:
            assert turn.acquire(timeout=20)
            connection.sendall(event)

    sidecar = start_sidecar(start_model(stream).address)
    with sidecar.connect() as client:
        client.sendall(b"GET /s HTTP/1.1\r\nHost: m\r\n\r\n")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        for event in events:
            turn.release()
            assert client.recv(len(event)) == event
        assert client.recv(1) == b"", "the model's end is the body's end"


@pytest.mark.parametrize(
    "first",
    [b"\x16\x03\x01\x02\x00", b"SSH-2.0-x\r\n", b"\x00\x00\x00\x01", random.Random(64).randbytes(64)],
    ids=["TLS", "SSH", "zeros", "noise"],
)
def test_unknown_protocols_pass_untouched(
    start_model: "StartModel", start_sidecar: "StartSidecar", first: bytes
) -> None:
    """Bytes of no protocol we know pass both ways as they are, and the connection is counted as opaque."""
    sent, answer = first + os.urandom(100_000), os.urandom(100_000)
    conversation = Conversation([(len(sent), answer)])
    sidecar = start_sidecar(start_model(conversation).address)
    with sidecar.connect() as client:
        client.sendall(sent)
        received = bytearray()
        while len(received) < len(answer):
            received += client.recv(MIB)
        client.shutdown(socket.SHUT_WR)
        assert conversation.done.wait(20)
    assert (bytes(conversation.received), bytes(received)) == (sent, answer)
    assert "infertap_relay_opaque_connections_total" in sidecar.get("/metrics")[1]
    sidecar.await_account(lambda account: account["calls"]["seen"] == 1 and account["calls"]["open"] == 0)


def test_half_close_passes_on(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """The model sees the client's end of input and still answers; the client sees the model's end."""
    request = post(b"q")

    def answer_after_end(connection: socket.socket) -> None:
        received = b""
        while piece := connection.recv(4096):
            received += piece
        assert less_added(received) == (request, 1)
        connection.sendall(ok(b"after your end"))

    sidecar = start_sidecar(start_model(answer_after_end).address)
    with sidecar.connect() as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        received = b""
        while piece := client.recv(4096):
            received += piece
    assert less_added(received) == (ok(b"after your end"), 1)


def test_reset_by_the_model_passes_on(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """A model that breaks off in the middle of a body is a reset for the client."""

    def break_off(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        gone.wait(20)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    gone = threading.Event()
    sidecar = start_sidecar(start_model(break_off).address)
    with sidecar.connect() as client:
        client.sendall(post(b""))
        received = b""
        while not received.endswith(b"half"):
            received += client.recv(4096)
        gone.set()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    sidecar.await_account(lambda account: account["calls"]["seen"] == 1 and account["calls"]["open"] == 0)


def test_reset_by_the_client_passes_on(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """A client that breaks off is a reset for the model."""
    saw_reset = threading.Event()
    request_came = threading.Event()

    def wait(connection: socket.socket) -> None:
        connection.recv(4096)
        request_came.set()
        try:
            connection.recv(1)
        except ConnectionResetError:
            saw_reset.set()

    sidecar = start_sidecar(start_model(wait).address)
    client = sidecar.connect()
    client.sendall(post(b"x"))
    assert request_came.wait(20)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert saw_reset.wait(20)
