"""Journey 4, the relay's part: a killed relay loses only its own connections, and its counters survive."""

import os
import re
import signal
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar

REQUEST = b"GET /v1/x HTTP/1.1\r\nHost: m\r\n\r\n"


def answer(connection: socket.socket) -> None:
    """Answer every request head but those of /hang."""
    received = b""
    while piece := connection.recv(4096):
        received += piece
        while b"\r\n\r\n" in received:
            head, _, received = received.partition(b"\r\n\r\n")
            if b"/hang" not in head:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def ask(client: socket.socket) -> None:
    client.sendall(REQUEST)
    received = b""
    while not received.endswith(b"ok"):
        piece = client.recv(4096)
        assert piece
        received += piece


def connected_to_both(sidecar: "Sidecar") -> list[socket.socket]:
    """Clients that were answered, some by each of two relays: whichever wakes first accepts."""
    clients: list[socket.socket] = []
    while len(clients) < 40 or 0 in open_connections(sidecar):
        assert len(clients) < 1000, "one relay accepts them all"
        clients.append(sidecar.connect())
        ask(clients[-1])
    return clients


def open_connections(sidecar: "Sidecar") -> list[int]:
    """How many each relay has."""
    found = re.findall(
        r"^infertap_relay_connections_open\{relay=\"\d+\"\} (\d+)", sidecar.get("/metrics")[1], re.M
    )
    return [int(count) for count in found]


def kill_relay(sidecar: "Sidecar", slot: int) -> None:
    os.kill(sidecar.pid(f"relay {slot}"), signal.SIGKILL)


def await_successor(sidecar: "Sidecar", started_before: int) -> None:
    deadline = time.monotonic() + 30
    while len(sidecar.events("accepting")) <= started_before or not sidecar.is_ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_successor_counts_on_and_closes_the_books(
    start_sidecar: "Callable[..., Sidecar]", start_model: "Callable[..., Model]"
) -> None:
    """Calls before and after a kill are all counted; those open at the kill are shed_relay_lost."""
    sidecar = start_sidecar(start_model(answer).address)
    with sidecar.connect() as client:
        for _ in range(10):
            ask(client)
        client.sendall(REQUEST.replace(b"/v1/x", b"/hang"))
        sidecar.await_account(lambda account: account["calls"]["open"] == 1)
        kill_relay(sidecar, 0)
        assert client.recv(1) == b"", "its own connections end"
    with sidecar.connect() as client:  # queued in the listening socket, which outlives the relay
        for _ in range(5):
            ask(client)
    account = sidecar.account()["calls"]
    assert account["seen"] == 16
    assert account["shed_relay_lost"] == 1
    assert account["balanced"]
    assert account["open"] == 0


def test_other_relays_keep_their_connections(
    start_sidecar: "Callable[..., Sidecar]", start_model: "Callable[..., Model]"
) -> None:
    """With two relays, killing one resets its connections only; every new client is served meanwhile."""
    sidecar = start_sidecar(start_model(answer).address, workers="2")
    clients = connected_to_both(sidecar)
    kill_relay(sidecar, 1)
    lost = 0
    for client in clients:
        try:
            ask(client)
        except ConnectionError:
            lost += 1
        except AssertionError:
            lost += 1
        client.close()
    assert 0 < lost < len(clients)
    for _ in range(20):
        with sidecar.connect() as client:
            ask(client)
    await_successor(sidecar, 2)
    account = sidecar.account()["calls"]
    assert account["balanced"]
    assert account["seen"] >= 40 + 40 - lost + 20


def test_many_kills_under_load_balance(
    start_sidecar: "Callable[..., Sidecar]", start_model: "Callable[..., Model]"
) -> None:
    """Killed again and again while clients ask, the relays' account balances in the end."""
    sidecar = start_sidecar(start_model(answer).address)
    answered = 0
    for turn in range(5):
        with sidecar.connect() as client:
            for number in range(200):
                if number == 150 + turn:
                    kill_relay(sidecar, 0)
                try:
                    ask(client)
                except (ConnectionError, AssertionError):
                    break
                answered += 1
        await_successor(sidecar, turn + 1)
    account = sidecar.account()["calls"]
    assert account["balanced"], account
    assert account["open"] == 0
    assert account["seen"] >= answered
