"""Journey 6: client or model breaks off in the middle: the record says so, with the part that was seen."""

import json
import socket
import struct
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from infertap import v1

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar

    StartModel = Callable[[Callable[[socket.socket], None]], Model]
    StartSidecar = Callable[..., Sidecar]

REQUEST = b'{"model": "m", "stream": true, "messages": [{"role": "user", "content": "go on"}]}'
CHAT = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: model\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(REQUEST), REQUEST)
)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    b"X-Request-Id: made-by-model\r\n\r\n"
)


def event(word: str) -> bytes:
    choice = {"index": 0, "delta": {"content": word}}
    return b"data: %s\n\n" % json.dumps({"model": "m", "choices": [choice]}).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


EVENTS = [event(word) for word in ("one ", "two ", "three")]


def read_head(connection: socket.socket) -> bytes:
    """A request with its body, as far as its length says."""
    received = bytearray()
    while not received.endswith(REQUEST):
        piece = connection.recv(1 << 16)
        if not piece:
            break
        received += piece
    return bytes(received)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def close(connection: socket.socket) -> None:
    connection.close()


def receive_until(connection: socket.socket, end: bytes) -> bytes:
    received = bytearray()
    while not received.endswith(end):
        piece = connection.recv(1 << 16)
        assert piece, f"ended after {bytes(received)!r}"
        received += piece
    return bytes(received)


def the_record(sidecar: "Sidecar") -> v1.Record:
    [record] = sidecar.await_records(1)
    account = sidecar.await_settled()
    assert account["calls"]["handed_over"] == 1
    return record


def seen_words(record: v1.Record) -> str:
    return str(json.loads(record.response.decoded_json)["choices"][0]["message"]["content"])


@pytest.mark.parametrize("break_off", [close, reset])
def test_client_leaves_a_stream(
    start_model: "StartModel", start_sidecar: "StartSidecar", break_off: Callable[[socket.socket], None]
) -> None:
    """A client that leaves in the middle of a stream cancels the call; what it got is in the record."""
    model_has_seen_it = threading.Event()

    def answer(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(STREAM_HEAD + b"".join(map(chunk, EVENTS)))
        try:
            while connection.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        model_has_seen_it.set()

    sidecar = start_sidecar(start_model(answer).address)
    client = sidecar.connect()
    client.sendall(CHAT)
    receive_until(client, chunk(EVENTS[-1]))
    break_off(client)
    assert model_has_seen_it.wait(30)
    record = the_record(sidecar)
    assert (record.state, record.ended_by) == (v1.CANCELLED, v1.EndedBy.CLIENT)
    assert record.http_status == 200
    assert record.response.data == b"".join(EVENTS)
    assert not record.response.truncated
    assert seen_words(record) == "one two three"
    assert record.model_request_id == "made-by-model"
    assert record.sampling.reason == v1.Sampling.ERROR


@pytest.mark.parametrize("break_off", [close, reset])
def test_model_breaks_off_a_stream(
    start_model: "StartModel", start_sidecar: "StartSidecar", break_off: Callable[[socket.socket], None]
) -> None:
    """A stream that ends without its last chunk has failed; what came before is in the record."""
    client_has_all = threading.Event()

    def answer(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(STREAM_HEAD + chunk(EVENTS[0]) + chunk(EVENTS[1]))
        assert client_has_all.wait(30)
        break_off(connection)

    sidecar = start_sidecar(start_model(answer).address)
    with sidecar.connect() as client:
        client.sendall(CHAT)
        receive_until(client, chunk(EVENTS[1]))
        client_has_all.set()
        record = the_record(sidecar)
    assert (record.state, record.ended_by) == (v1.FAILED, v1.EndedBy.MODEL_ABORTED)
    assert (record.http_status, seen_words(record)) == (200, "one two ")
    assert record.response.size_bytes == len(EVENTS[0] + EVENTS[1])


def test_model_breaks_off_within_an_event(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """Of an event that was cut in two the first half is in the record as it came."""
    client_has_all = threading.Event()
    half = EVENTS[1][:30]

    def answer(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(STREAM_HEAD + chunk(EVENTS[0]) + b"%x\r\n%s" % (len(EVENTS[1]), half))
        assert client_has_all.wait(30)
        reset(connection)

    sidecar = start_sidecar(start_model(answer).address)
    with sidecar.connect() as client:
        client.sendall(CHAT)
        receive_until(client, half)
        client_has_all.set()
        record = the_record(sidecar)
    assert record.state == v1.FAILED
    assert record.response.data == EVENTS[0] + half
    assert seen_words(record) == "one "


def test_answer_shorter_than_it_says(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """A body that ends before its Content-Length has failed."""
    client_has_all = threading.Event()

    def answer(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 99\r\n\r\nhalf")
        assert client_has_all.wait(30)

    sidecar = start_sidecar(start_model(answer).address)
    with sidecar.connect() as client:
        client.sendall(CHAT)
        receive_until(client, b"half")
        client_has_all.set()
        assert client.recv(1 << 16) == b""
        record = the_record(sidecar)
    assert (record.state, record.response.data) == (v1.FAILED, b"half")


def test_model_breaks_off_before_it_answers(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """A model that resets instead of answering has failed, without a status; the request is in the record."""

    def answer(connection: socket.socket) -> None:
        read_head(connection)
        reset(connection)

    sidecar = start_sidecar(start_model(answer).address)
    with sidecar.connect() as client:
        client.sendall(CHAT)
        with pytest.raises(ConnectionResetError):
            client.recv(1 << 16)
        record = the_record(sidecar)
    assert (record.state, record.ended_by) == (v1.FAILED, v1.EndedBy.MODEL_ABORTED)
    assert (record.http_status, record.timing.first_response_byte_us) == (0, -1)
    assert record.request.data == REQUEST
    assert not record.response.data


def test_client_breaks_off_its_upload(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """A request that is not sent to its end is cancelled; the part that came is in the record."""
    model_has_part = threading.Event()
    part = b'{"inputs": [1, 2, 3, '

    def answer(connection: socket.socket) -> None:
        receive_until(connection, part)
        model_has_part.set()
        with pytest.raises(ConnectionResetError):
            connection.recv(1 << 16)

    sidecar = start_sidecar(start_model(answer).address)
    client = sidecar.connect()
    client.sendall(
        b"POST /v1/x HTTP/1.1\r\nHost: model\r\nContent-Length: 9999\r\n"
        b"Content-Type: application/json\r\n\r\n%s" % part
    )
    assert model_has_part.wait(30)
    reset(client)
    record = the_record(sidecar)
    assert (record.state, record.ended_by) == (v1.CANCELLED, v1.EndedBy.CLIENT)
    assert (record.request.data, record.request.size_bytes) == (part, len(part))
    assert (record.http_status, record.timing.request_complete_us) == (0, -1)


def test_personal_data_in_what_was_seen(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """The part that was seen is redacted like a whole: also what two events spell together."""
    client_has_all = threading.Event()
    sent = [event("mail ada@exam"), event("ple.org or"), event(" call")]

    def answer(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(STREAM_HEAD + b"".join(map(chunk, sent)))
        assert client_has_all.wait(30)
        reset(connection)

    sidecar = start_sidecar(start_model(answer).address)
    with sidecar.connect() as client:
        client.sendall(CHAT)
        receive_until(client, chunk(sent[-1]))
        client_has_all.set()
        record = the_record(sidecar)
    assert record.state == v1.FAILED
    assert seen_words(record) == "mail <email> or call"
    assert b"ada" not in record.response.data


def test_stream_that_says_it_failed(start_model: "StartModel", start_sidecar: "StartSidecar") -> None:
    """A stream that is complete and ends with an error event has failed."""

    def answer(connection: socket.socket) -> None:
        read_head(connection)
        failure = b'data: {"error": {"message": "CUDA out of memory"}}\n\n'
        connection.sendall(STREAM_HEAD + chunk(EVENTS[0]) + chunk(failure) + b"0\r\n\r\n")

    sidecar = start_sidecar(start_model(answer).address)
    with sidecar.connect() as client:
        client.sendall(CHAT)
        receive_until(client, b"0\r\n\r\n")
        record = the_record(sidecar)
    assert (record.state, record.ended_by) == (v1.FAILED, v1.EndedBy.MODEL)
    assert seen_words(record) == "one "
