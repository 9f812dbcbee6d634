"""Journey 3: a recorder that is killed or stopped under load is nobody's business but the account's (laws 1
and 4).
"""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar

BODY = b"b" * 20_000
REQUEST = b"POST /v1/x HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


def echo(connection: socket.socket) -> None:
    """Answer each request with its body."""
    received = b""
    while piece := connection.recv(1 << 16):
        received += piece
        _, blank, body = received.partition(b"\r\n\r\n")
        if blank and len(body) >= len(BODY):
            received = body[len(BODY) :]
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY))


def ask(client: socket.socket) -> None:
    client.sendall(REQUEST)
    received = bytearray()
    while not (b"\r\n\r\n" in received and received.endswith(BODY)):
        piece = client.recv(1 << 16)
        assert piece, "the sidecar ended a client's connection"
        received += piece


class Load:
    """Clients that ask without pause; each failure is kept."""

    def __init__(self, sidecar: "Sidecar", clients: int) -> None:
        self.answered = 0
        self.faults: list[BaseException] = []
        self._sidecar = sidecar
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        try:
            with self._sidecar.connect() as client:
                while not self._ending.is_set():
                    ask(client)
                    with self._lock:
                        self.answered += 1
        except BaseException as fault:
            self.faults.append(fault)

    def await_answers(self, count: int) -> None:
        """Until `count` more calls have been answered."""
        wanted = self.answered + count
        deadline = time.monotonic() + 30
        while self.answered < wanted and not self.faults:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    @contextlib.contextmanager
    def running(self) -> "Iterator[Load]":
        for thread in self._threads:
            thread.start()
        yield self
        self._ending.set()
        for thread in self._threads:
            thread.join(30)
        assert self.faults == []


def assert_healthy(sidecar: "Sidecar") -> None:
    assert sidecar.get("/healthz")[0] == 200
    assert sidecar.get("/readyz")[0] == 200


def assert_recording(sidecar: "Sidecar") -> None:
    """Each new call becomes a record again."""
    before = sidecar.await_settled()
    with sidecar.connect() as client:
        for _ in range(20):
            ask(client)
    after = sidecar.await_account(
        lambda account: account["hand_over"]["appended"] >= before["hand_over"]["appended"] + 20
    )
    assert after["calls"]["seen"] == before["calls"]["seen"] + 20


def test_killed_recorder(
    start_sidecar: "Callable[..., Sidecar]", start_model: "Callable[..., Model]"
) -> None:
    """Killed again and again under load: every call is answered, each is accounted for, recording resumes."""
    sidecar = start_sidecar(start_model(echo).address)
    assert_recording(sidecar)
    with Load(sidecar, clients=4).running() as load:
        for turn in range(3):
            load.await_answers(50)
            os.kill(sidecar.pid("recorder"), signal.SIGKILL)
            load.await_answers(50)
            assert_healthy(sidecar)
            deadline = time.monotonic() + 30
            while len([e for e in sidecar.events("child started") if e["child"] == "recorder"]) < turn + 2:
                assert time.monotonic() < deadline
                time.sleep(0.02)
    account = sidecar.await_settled()
    assert account["calls"]["seen"] == load.answered + 20
    assert account["calls"]["handed_over"] + account["calls"]["shed_handoff_full"] == account["calls"]["seen"]
    assert_recording(sidecar)


def test_stopped_recorder(
    start_sidecar: "Callable[..., Sidecar]", start_model: "Callable[..., Model]"
) -> None:
    """A recorder that hangs costs records, shown as shed, and no call; when it goes on, so does recording."""
    sidecar = start_sidecar(start_model(echo).address, capture_budget_bytes="4MiB")
    assert_recording(sidecar)
    os.kill(sidecar.pid("recorder"), signal.SIGSTOP)
    with Load(sidecar, clients=4).running() as load:
        load.await_answers(1000)
        assert_healthy(sidecar)
        account = sidecar.account()
        assert account["calls"]["shed_handoff_full"] > 0
        assert account["calls"]["handed_over"] > 20
    os.kill(sidecar.pid("recorder"), signal.SIGCONT)
    account = sidecar.await_settled()
    assert account["calls"]["seen"] == load.answered + 20
    assert account["calls"]["shed_handoff_full"] > 0
    assert account["hand_over"]["lost_crash"] == 0
    assert_recording(sidecar)


def test_stopped_recorder_that_is_then_killed(
    start_sidecar: "Callable[..., Sidecar]", start_model: "Callable[..., Model]"
) -> None:
    """What waits in the kernel for a recorder that hangs and dies is taken by its successor."""
    sidecar = start_sidecar(start_model(echo).address)
    assert_recording(sidecar)
    recorder = sidecar.pid("recorder")
    os.kill(recorder, signal.SIGSTOP)
    with sidecar.connect() as client:
        for _ in range(30):
            ask(client)
    os.kill(recorder, signal.SIGKILL)
    account = sidecar.await_settled()
    assert account["calls"]["seen"] == 50
    assert account["hand_over"]["appended"] + account["hand_over"]["lost_crash"] == 50
    assert account["hand_over"]["lost_crash"] == 0, "nothing had been received and not committed"
    assert_recording(sidecar)
