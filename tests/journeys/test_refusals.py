"""What the settings refuse: requests that two readers could read differently, and what can't be recorded."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import h11
import pytest

from infertap import v1
from tests.journeys.conftest import receive_all, receive_until

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar

    StartModel = Callable[[Callable[[socket.socket], None]], Model]
    StartSidecar = Callable[..., Sidecar]

GET = b"GET /v1/x HTTP/1.1\r\nHost: m\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CLOSE = b"\r\nConnection: close\r\n"
SMUGGLED = (
    b"POST /v1/y HTTP/1.1\r\nHost: m\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: m\r\n\r\n"
)


class Hearing:
    """A model that answers every request, and remembers all that it hears."""

    def __init__(self, answer: bytes = OK) -> None:
        self.heard = b""
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._answer = answer

    def serve(self, connection: socket.socket) -> None:
        while piece := connection.recv(1 << 16):
            self.heard += piece
            self.may_answer.wait(20)
            connection.sendall(self._answer * piece.count(b"\r\n\r\n"))


def answers(client: socket.socket) -> Iterator[tuple[int, dict[bytes, bytes], bytes]]:
    """Status, header fields and content of what a client is answered until the connection ends."""
    reader = h11.Connection(h11.CLIENT)
    while True:
        reader.send(h11.Request(method="GET", target="/", headers=[("Host", "m")]))
        reader.send(h11.EndOfMessage())
        content = b""
        while not isinstance(event := reader.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                reader.receive_data(client.recv(1 << 16))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                content += bytes(event.data)
        yield head.status_code, dict(head.headers), content
        if reader.our_state is not h11.DONE or reader.their_state is not h11.DONE:
            assert reader.trailing_data[0] == b""
            assert client.recv(1) == b""
            return
        reader.start_next_cycle()


@pytest.mark.parametrize("setting", ["ambiguous_framing", "unrecordable"])
def test_a_smuggled_request_is_answered_400(
    start_sidecar: "StartSidecar", start_model: "StartModel", setting: str
) -> None:
    """It is told what is wrong, behind the answers to what came before it; the model hears none of it."""
    hearing = Hearing()
    hearing.may_answer.clear()
    sidecar = start_sidecar(
        start_model(hearing.serve).address,
        **{setting: {"ambiguous_framing": "reject", "unrecordable": "refuse"}[setting]},
    )
    with sidecar.connect() as client:
        client.sendall(GET + SMUGGLED)
        client.sendall(GET)
        hearing.may_answer.set()
        (first, _, _), (second, fields, content) = answers(client)
    assert (first, second) == (200, 400)
    assert content == b"Refused by the sidecar: Content-Length together with Transfer-Encoding.\n"
    assert fields[b"connection"] == b"close"
    with sidecar.connect() as client:
        client.sendall(GET)
        assert receive_until(client, b"ok").startswith(b"HTTP/1.1 200 ")
    assert b"/v1/y" not in hearing.heard
    assert b"/hidden" not in hearing.heard
    (refused,) = (record for record in sidecar.await_records(3) if record.path == "/v1/y")
    assert (refused.http_status, refused.state, refused.protocol) == (400, v1.FAILED, v1.OPAQUE)
    assert refused.request_id == fields[b"x-request-id"].decode()
    assert {"FRAMING_AMBIGUOUS", "REFUSED"} <= set(refused.logging_error_codes)
    sidecar.await_settled()
    metrics = sidecar.get("/metrics")[1]
    assert 'infertap_relay_connections_refused_total{relay="0"} 1' in metrics
    assert 'infertap_relay_framing_ambiguous_total{relay="0"} 1' in metrics


def test_a_chunk_that_lies(start_sidecar: "StartSidecar", start_model: "StartModel") -> None:
    """A request that turns out ambiguous in its body is never complete for the model."""
    hearing = Hearing(b"")
    sidecar = start_sidecar(start_model(hearing.serve).address, ambiguous_framing="reject")
    with sidecar.connect() as client:
        client.sendall(b"POST /v1/x HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        client.sendall(b"3;\nx=\r\nabc\r\n0\r\n\r\n")
        ((status, _, content),) = answers(client)
    assert (status, content) == (400, b"Refused by the sidecar: malformed chunk size or chunk extension.\n")
    (record,) = sidecar.await_records(1)
    assert (record.path, record.http_status, record.protocol) == ("/v1/x", 400, v1.HTTP1)
    assert hearing.heard.endswith(b"\r\n\r\n3\r\nabc\r\n")


def test_an_answer_that_lies(start_sidecar: "StartSidecar", start_model: "StartModel") -> None:
    """A model whose answer could be read in two ways is not heard: 502."""
    lie = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\nok"
    sidecar = start_sidecar(start_model(Hearing(lie).serve).address, ambiguous_framing="reject")
    with sidecar.connect() as client:
        client.sendall(GET)
        ((status, fields, content),) = answers(client)
    assert (status, content) == (
        502,
        b"Refused by the sidecar: the answer has more than one Content-Length.\n",
    )
    (record,) = sidecar.await_records(1)
    assert (record.http_status, record.state) == (502, v1.FAILED)
    assert record.request_id == fields[b"x-request-id"].decode()


def test_large_upload_behind_a_refusal(start_sidecar: "StartSidecar", start_model: "StartModel") -> None:
    """A client that goes on sending gets its answer all the same: it is not reset."""
    sidecar = start_sidecar(start_model(Hearing().serve).address, ambiguous_framing="reject")
    with sidecar.connect() as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(SMUGGLED + b"x" * (2 << 20))
        ((status, _, _),) = answers(client)
    assert status == 400


def test_what_can_not_be_recorded(start_sidecar: "StartSidecar", start_model: "StartModel") -> None:
    """Unknown protocols, heads beyond the limit, tunnels: closed, each with the answer that fits."""
    hearing = Hearing(b"HTTP/1.1 200 Connected\r\n\r\n")
    sidecar = start_sidecar(start_model(hearing.serve).address, unrecordable="refuse")
    with sidecar.connect() as client:
        client.sendall(b"\x16\x03\x01\x02\x00")
        assert receive_all(client) == b""
    with sidecar.connect() as client:
        client.sendall(b"GET /v1/large HTTP/1.1\r\nA: " + b"a" * 70_000 + b"\r\n\r\n")
        ((status, _, _),) = answers(client)
        assert status == 431
    assert hearing.heard == b""
    with sidecar.connect() as client:
        client.sendall(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")
        ((status, _, _),) = answers(client)
        assert status == 502
    sidecar.await_settled()
    records = sidecar.await_records(3)
    assert all("REFUSED" in record.logging_error_codes for record in records)
    assert {record.state for record in records} == {v1.FAILED}
    assert 'infertap_relay_connections_refused_total{relay="0"} 3' in sidecar.get("/metrics")[1]


def test_relayed_unless_told_otherwise(start_sidecar: "StartSidecar", start_model: "StartModel") -> None:
    """Without these settings everything passes, flagged."""
    hearing = Hearing()
    sidecar = start_sidecar(start_model(hearing.serve).address)
    with sidecar.connect() as client:
        client.sendall(SMUGGLED)
        receive_until(client, b"ok")
    assert hearing.heard == SMUGGLED
    (record,) = sidecar.await_records(1)
    assert "FRAMING_AMBIGUOUS" in record.logging_error_codes
    assert "REFUSED" not in record.logging_error_codes


def test_drain_tells_clients(start_sidecar: "StartSidecar", start_model: "StartModel") -> None:
    """While the sidecar ends, a busy client is told by `Connection: close`, a line more in an answer."""
    sidecar = start_sidecar(start_model(Hearing().serve).address, drain_seconds="20")
    heads = []
    with sidecar.connect() as client:
        while not heads or CLOSE not in heads[-1]:
            client.sendall(GET)
            heads.append(receive_until(client, b"ok").partition(b"ok")[0])
            if len(heads) == 1:
                sidecar.process.terminate()
        assert client.recv(1) == b""
    assert len(heads) > 1
    assert {head.count(b"\r\n") for head in heads[:-1]} == {heads[-1].count(b"\r\n") - 1}
    assert sidecar.process.wait(20) == 0
    (ended,) = sidecar.events("sidecar ended")
    assert ended["balanced"]
