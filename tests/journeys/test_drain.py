"""How a sidecar ends: calls in flight finish, idle connections end, the rest is broken off in time."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar

REQUEST = b"GET /v1/x HTTP/1.1\r\nHost: m\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def receive_until(client: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        piece = client.recv(4096)
        assert piece, received
        received += piece
    return received


def test_call_in_flight_finishes(
    start_sidecar: "Callable[..., Sidecar]", start_model: "Callable[..., Model]"
) -> None:
    """After SIGTERM a call in flight gets its whole answer, an idle connection ends, nobody else gets in."""
    asked, may_answer = threading.Event(), threading.Event()

    def slowly(connection: socket.socket) -> None:
        while connection.recv(4096):
            asked.set()
            assert may_answer.wait(20)
            connection.sendall(ANSWER)

    sidecar = start_sidecar(start_model(slowly).address, drain_seconds="20")
    with sidecar.connect() as idle, sidecar.connect() as busy:
        busy.sendall(REQUEST)
        assert asked.wait(20)
        sidecar.process.terminate()
        deadline = time.monotonic() + 20
        while not sidecar.events("draining: relays finish"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        may_answer.set()
        receive_until(busy, b"ok")
        assert idle.recv(1) == b"", "ended in order"
        assert busy.recv(1) == b""
    assert sidecar.process.wait(20) == 0
    (ended,) = sidecar.events("sidecar ended")
    assert ended["balanced"]


def test_call_beyond_the_drain_time_is_broken_off(
    start_sidecar: "Callable[..., Sidecar]", start_model: "Callable[..., Model]"
) -> None:
    """A call that outlasts the drain time is reset, so that nobody takes half an answer for a whole one."""

    def endlessly(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        with contextlib.suppress(ConnectionError):
            connection.recv(1)

    sidecar = start_sidecar(start_model(endlessly).address, drain_seconds="0.3")
    with sidecar.connect() as client:
        client.sendall(REQUEST)
        receive_until(client, b"half")
        sidecar.process.terminate()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert sidecar.process.wait(20) == 0
    (late,) = sidecar.events("drain time is up")
    assert late["calls_broken_off"] == 1


def test_a_second_signal_hurries(
    start_sidecar: "Callable[..., Sidecar]", start_model: "Callable[..., Model]"
) -> None:
    """A second SIGTERM ends the wait for calls; the log still holds events only."""
    asked, is_over = threading.Event(), threading.Event()

    def never(connection: socket.socket) -> None:
        connection.recv(4096)
        asked.set()
        assert is_over.wait(60)

    sidecar = start_sidecar(start_model(never).address, drain_seconds="60")
    with sidecar.connect() as client:
        client.sendall(REQUEST)
        assert asked.wait(20)
        sidecar.process.terminate()
        deadline = time.monotonic() + 20
        while not sidecar.events("draining: nobody listens"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        sidecar.process.terminate()
        assert sidecar.process.wait(20) == 0
        is_over.set()
    assert all(line.startswith("{") for line in sidecar.log_path.read_text().splitlines())


def test_children_follow_a_killed_parent(
    start_sidecar: "Callable[..., Sidecar]", start_model: "Callable[..., Model]"
) -> None:
    """When the parent is killed its relays end too, so that a new sidecar can have the port."""
    sidecar = start_sidecar(start_model(lambda connection: None).address, workers="2")
    relays = [sidecar.pid("relay 0"), sidecar.pid("relay 1")]
    sidecar.process.send_signal(signal.SIGKILL)
    sidecar.process.wait(20)
    deadline = time.monotonic() + 20
    for pid in relays:
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.kill(pid, 0)
                assert time.monotonic() < deadline, "relay outlives its parent"
                time.sleep(0.02)
