"""Calls in flight: what is shown of a call that lasts, until its record comes or its relay is gone."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from infertap import Client, v1
from infertap.client import UnreachableError
from tests.journeys.conftest import WAIT_SECONDS, await_true, receive_all, receive_until

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar, Storage

CANARIES = (
    "jo.canary@example.org",
    "4111 1111 1111 1111",
    "sk-canary0123456789abcdef0123456789abcdef0123456789",
)
# The recorder has its share of a busy machine.
QUICK = {"recorder_priority": "nice"}
SLOW = (
    b"POST /v1/slow/jo.canary@example.org?mail=jo.canary@example.org HTTP/1.1\r\nHost: m\r\n"
    b"Authorization: Bearer sk-canary0123456789abcdef0123456789abcdef0123456789\r\n"
    b"User-Agent: card 4111 1111 1111 1111\r\nX-Request-Id: jo.canary@example.org\r\n"
    b"Content-Length: 11\r\n\r\njo.canary@e"
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"


class SlowAnswers:
    """A model that answers the beginning of each call at once, and the rest when it is let go."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def answer(self, connection: socket.socket) -> None:
        while connection.recv(1 << 16):
            connection.sendall(HEAD + b"begun")
            assert self.go_on.wait(WAIT_SECONDS)
            connection.sendall(b" end")


@pytest.fixture
def slow() -> Iterator[SlowAnswers]:
    answers = SlowAnswers()
    yield answers
    answers.go_on.set()


def in_flight(address: str) -> list[v1.Record]:
    """What is shown as in flight; nothing while nobody answers there yet."""
    with Client(address) as client, contextlib.suppress(UnreachableError):
        return list(client.list(states=["INFERENCING"]))
    return []


def test_slow_call_is_shown_until_its_record_comes(
    start_sidecar: "Callable[..., Sidecar]",
    start_model: "Callable[..., Model]",
    start_storage: "Callable[..., Storage]",
    slow: SlowAnswers,
) -> None:
    """Sidecar and storage show it as INFERENCING, redacted, growing older, in lists, tails and on the page;
    then its record takes its place. No law counts it.
    """
    storage = start_storage()
    sidecar = start_sidecar(start_model(slow.answer).address, storage=storage.address, **QUICK)
    addresses = (sidecar.api, storage.address)
    with sidecar.connect() as client, Client(sidecar.api) as near, Client(storage.address) as far:
        tails = [near.tail(path="/v1/*"), far.tail(path="/v1/*")]
        client.sendall(SLOW)
        receive_until(client, b"begun")
        shown = [await_true(lambda at=at: in_flight(at), f"shown at {at}")[0] for at in addresses]
        for record in shown:
            assert (record.state, record.sequence, record.http_status) == (v1.INFERENCING, 0, 200)
            assert (record.request.size_bytes, record.response.size_bytes) == (11, 5)
            assert record.timing.duration_us >= 1_000_000
            assert record.timing.first_response_byte_us > 0
            assert record.path == "/v1/slow/<email>"
        assert len({record.call_id for record in shown}) == 1
        call_id = shown[0].call_id
        for at in (near, far):
            found = at.get(call_id)
            assert found.timing.duration_us > shown[0].timing.duration_us
            assert list(at.list()) == []
        seen = [next(tail) for tail in tails]
        page = storage.get("/")[1] + storage.get(f"/calls/{call_id}")[1]
        assert "Inferencing" in page
        told = page + "".join(str(each) for each in (*shown, *seen))
        assert not [canary for canary in CANARIES if canary in told]
        assert sidecar.account()["calls"]["open"] == 1
        slow.go_on.set()
        receive_until(client, b" end")
        for tail, before in zip(tails, seen, strict=True):
            record = next(tail)
            assert (before.state, record.state) == (v1.INFERENCING, v1.COMPLETED)
            assert (before.call_id, record.call_id) == (call_id, call_id)
            assert record.sequence == 1
            tail.close()
    for at in addresses:
        assert in_flight(at) == []
    assert sidecar.await_settled()["calls"]["handed_over"] == 1


def test_command_line(
    start_sidecar: "Callable[..., Sidecar]", start_model: "Callable[..., Model]", slow: SlowAnswers
) -> None:
    """`records list --state inferencing` and `records tail` show a call in flight with its age."""
    sidecar = start_sidecar(start_model(slow.answer).address, **QUICK)
    with sidecar.connect() as client:
        client.sendall(SLOW)
        await_true(lambda: in_flight(sidecar.api), "shown")
        command = [sys.executable, "-m", "infertap.cli", "records"]
        listing = [*command, "list", "--state", "inferencing", "--address", sidecar.api]
        listed = subprocess.run(listing, capture_output=True, text=True, timeout=WAIT_SECONDS, check=True)
        tailing = [*command, "tail", "--address", sidecar.api]
        with subprocess.Popen(tailing, stdout=subprocess.PIPE, text=True) as tail:
            assert tail.stdout is not None
            tailed = [tail.stdout.readline() for _ in range(2)]
            tail.send_signal(signal.SIGINT)
        for row in (listed.stdout.splitlines()[1], tailed[1]):
            for text in ("/v1/slow/<email>", " s ", "inferencing", "in flight: 11 bytes asked, 5 answered"):
                assert text in row


def test_killed_relay(
    start_sidecar: "Callable[..., Sidecar]",
    start_model: "Callable[..., Model]",
    start_storage: "Callable[..., Storage]",
    slow: SlowAnswers,
) -> None:
    """A call whose relay is killed is shown as failed with its relay, here and there; it has no record."""
    storage = start_storage()
    sidecar = start_sidecar(start_model(slow.answer).address, storage=storage.address, **QUICK)
    addresses = (sidecar.api, storage.address)
    with sidecar.connect() as client, Client(storage.address) as far:
        tail = far.tail()
        client.sendall(SLOW)
        for at in addresses:
            await_true(lambda at=at: in_flight(at), f"shown at {at}")
        assert next(tail).state == v1.INFERENCING
        os.kill(sidecar.pid("relay 0"), signal.SIGKILL)
        for at in addresses:
            with Client(at) as asking:
                (lost,) = await_true(lambda asking=asking: list(asking.list(states=["FAILED"])), "lost")
            assert list(lost.logging_error_codes) == ["RELAY_LOST"]
            assert in_flight(at) == []
        assert next(tail).state == v1.FAILED
        tail.close()
    account = sidecar.await_settled()
    assert (account["calls"]["shed_relay_lost"], account["calls"]["handed_over"]) == (1, 0)


def test_killed_recorder_and_storage(
    start_sidecar: "Callable[..., Sidecar]",
    start_model: "Callable[..., Model]",
    start_storage: "Callable[..., Storage]",
    slow: SlowAnswers,
) -> None:
    """A recorder that starts again is told of what is in flight, and so is a storage."""
    storage = start_storage()
    sidecar = start_sidecar(start_model(slow.answer).address, storage=storage.address, **QUICK)
    with sidecar.connect() as client:
        client.sendall(SLOW)
        (before,) = await_true(lambda: in_flight(storage.address), "shown")
        os.kill(sidecar.pid("recorder"), signal.SIGKILL)
        await_true(lambda: len(sidecar.events("recording")) == 2, "a new recorder")
        (again,) = await_true(lambda: in_flight(sidecar.api), "told again")
        assert again.call_id == before.call_id
        storage.kill()
        storage = start_storage(storage.archive, storage_listen=storage.address)
        (there,) = await_true(lambda: in_flight(storage.address), "told storage again")
        assert there.call_id == before.call_id
        slow.go_on.set()
        receive_until(client, b" end")
        (record,) = storage.await_records(1)
        assert (record.call_id, record.state) == (before.call_id, v1.COMPLETED)
        assert in_flight(storage.address) == []


def test_killed_sidecar(
    start_sidecar: "Callable[..., Sidecar]",
    start_model: "Callable[..., Model]",
    start_storage: "Callable[..., Storage]",
    slow: SlowAnswers,
) -> None:
    """When a sidecar's parent is killed, the recorder's last word is that its calls went with the relay."""
    storage = start_storage()
    sidecar = start_sidecar(start_model(slow.answer).address, storage=storage.address, **QUICK)
    with sidecar.connect() as client:
        client.sendall(SLOW)
        (before,) = await_true(lambda: in_flight(storage.address), "shown")
        sidecar.end()
        with Client(storage.address) as far:
            (lost,) = await_true(lambda: list(far.list(states=["FAILED"])), "lost")
        assert (lost.call_id, list(lost.logging_error_codes)) == (before.call_id, ["RELAY_LOST"])


def test_calls_without_a_record(
    start_sidecar: "Callable[..., Sidecar]", start_model: "Callable[..., Model]", slow: SlowAnswers
) -> None:
    """A call that is not kept is shown while it lasts, and then no more."""
    sidecar = start_sidecar(start_model(slow.answer).address, sample_rate="0", **QUICK)
    with sidecar.connect() as client:
        client.sendall(SLOW)
        await_true(lambda: in_flight(sidecar.api), "shown")
        slow.go_on.set()
        receive_until(client, b" end")
        await_true(lambda: not in_flight(sidecar.api), "gone")
    assert sidecar.await_settled()["calls"]["not_sampled"] == 1


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def test_twelve_thousand_open_calls(
    start_sidecar: "Callable[..., Sidecar]", start_model: "Callable[..., Model]"
) -> None:
    """Of very many calls ten thousand are shown; they end with their connections; the account balances."""
    sidecar = start_sidecar(start_model(lambda connection: receive_all(connection) and None).address, **QUICK)
    # GET / of an authority "m": indexed fields of the static table, and a literal.
    block = b"\x82\x86\x84\x01\x01m"
    opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)
    calls = b"".join(frame(1, 5, 2 * number + 1, block) for number in range(1000))
    clients = [sidecar.connect() for _ in range(12)]
    for client in clients:
        client.sendall(opening + calls)
    sidecar.await_account(lambda account: account["calls"]["open"] == 12_000)
    gauge = "\ninfertap_recorder_in_flight {}\n"
    await_true(lambda: gauge.format(10_000) in sidecar.get("/metrics")[1], "ten thousand are known")
    assert len({record.call_id for record in in_flight(sidecar.api)}) == 10_000
    for client in clients:
        client.close()
    await_true(lambda: gauge.format(0) in sidecar.get("/metrics")[1], "none is known")
    assert sidecar.await_settled()["calls"]["seen"] == 12_000
