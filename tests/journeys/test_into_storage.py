"""Journey: from a client's call through sidecar and storage to the person who asks for it."""

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from infertap import Client, v1
from infertap.client import InvalidRequestError, RecordNotFoundError, UnreachableError

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar, Storage

REQUEST = (
    b"POST /v1/%d HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n"
    b'{"n":"%04d"}'
)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answer(connection: socket.socket) -> None:
    received = b""
    while piece := connection.recv(1 << 16):
        received += piece
        while b"}" in received:
            received = received.partition(b"}")[2]
            connection.sendall(ANSWER)


def ask(sidecar: "Sidecar", count: int) -> None:
    """So many calls on one connection, one after the other."""
    with sidecar.connect() as client:
        for number in range(count):
            client.sendall(REQUEST % (number, number))
            received = b""
            while not received.endswith(b"ok"):
                received += client.recv(1 << 16)


def test_records_arrive(
    start_sidecar: "Callable[..., Sidecar]",
    start_model: "Callable[..., Model]",
    start_storage: "Callable[..., Storage]",
) -> None:
    """Every call is in storage once, acknowledged to the sidecar, and can be fetched in each way."""
    storage = start_storage()
    sidecar = start_sidecar(start_model(answer).address, storage=storage.address)
    ask(sidecar, 300)
    records = storage.await_records(300)
    assert len({record.call_id for record in records}) == 300
    assert sorted(record.sequence for record in records) == list(range(1, 301))
    starts = [record.timing.start.ToNanoseconds() for record in records]
    assert starts == sorted(starts, reverse=True)
    account = sidecar.await_account(lambda each: each["spool"]["acked"] == 300)
    assert account["balanced"]
    with Client(storage.address) as client:
        assert client.get(records[0].call_id).request.data == records[0].request.data
        assert [r.path for r in client.list(path="/v1/29*", fields=["path"])] == [
            *(f"/v1/{number}" for number in range(299, 289, -1)),
            "/v1/29",
        ]
        assert len(list(client.list(limit=7))) == 7
        assert [r.path for r in client.list(text="0123")] == ["/v1/123"]
        with pytest.raises(RecordNotFoundError):
            client.get("00000000-0000-7000-8000-000000000000")
        with pytest.raises(InvalidRequestError, match="call_id"):
            client.get("nonsense")
    assert storage.get("/")[1].count('class="completed"') == 100
    assert storage.get(f"/calls/{records[0].call_id}")[0] == 200
    assert "infertap_storage_records_total 300.0" in storage.get("/metrics")[1]
    assert (sidecar.stop(), storage.stop()) == (0, 0)


def test_tail(
    start_sidecar: "Callable[..., Sidecar]",
    start_model: "Callable[..., Model]",
    start_storage: "Callable[..., Storage]",
) -> None:
    """A tail begins with what was there and goes on with what comes, at storage and at the sidecar alike."""
    storage = start_storage()
    sidecar = start_sidecar(start_model(answer).address, storage=storage.address)
    ask(sidecar, 5)
    storage.await_records(5)
    for address in (storage.address, sidecar.api):
        with Client(address) as client:
            tail = client.tail(backlog=2)
            assert [next(tail).path for _ in range(2)] == ["/v1/3", "/v1/4"]
            ask(sidecar, 5)
            assert [next(tail).path for _ in range(5)] == [f"/v1/{number}" for number in range(5)]
            tail.close()


def test_nobody_there() -> None:
    """An address where nobody listens is said to be one, with what to do."""
    with Client("127.0.0.1:1") as client, pytest.raises(UnreachableError, match="no records to be had at"):
        list(client.list())


def test_states_by_name(start_storage: "Callable[..., Storage]") -> None:
    """An empty storage answers every kind of question with nothing."""
    storage = start_storage()
    assert storage.records(states=["failed", v1.CANCELLED], http_statuses=[500], model="m", path="/*") == []
