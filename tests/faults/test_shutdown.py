"""Shutdown: SIGTERM while calls pass and answers stream, and a grace period that ends before it is done."""

import contextlib
import functools
import signal
import socket
import threading
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.calls import STREAM, echo, events_of
from tests.faults.killing import await_note, kill_whole
from tests.faults.settling import settle
from tests.journeys.conftest import await_true, receive, receive_until

if TYPE_CHECKING:
    from tests.faults.calls import Calls
    from tests.journeys.conftest import Model, Sidecar, Storage
    from tests.journeys.link import Link

    StartSidecar = Callable[..., Sidecar]
    StartStorage = Callable[..., Storage]

pytestmark = pytest.mark.faults

CLIENTS = 3


def leave(calls: "Calls", sidecar: "Sidecar") -> None:
    """A client that goes on until it is asked to go away, or finds the connection closed."""
    with contextlib.suppress(OSError), sidecar.connect() as client:
        while calls.make_one(client):
            pass


def chunks_of(body: bytes) -> tuple[bytes, bytes]:
    """The events that answer `body`, as chunks: the first, and all that comes behind it."""
    events = events_of(body)
    first, rest = events[: len(events) // 3], events[len(events) // 3 :]
    return b"%x\r\n%s\r\n" % (len(first), first), b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest)


class Streaming:
    """A model that echoes; calls of /v1/stream it answers with events, the rest of them when it may end."""

    def __init__(self) -> None:
        self.may_end = threading.Event()

    def __call__(self, connection: socket.socket) -> None:
        """Serve a connection."""
        if not connection.recv(16, socket.MSG_PEEK).startswith(b"POST /v1/stream"):
            echo(connection)
            return
        first, rest = chunks_of(receive_until(connection, b'"}').partition(b"\r\n\r\n")[2])
        connection.sendall(STREAM + first)
        assert self.may_end.wait(30)
        connection.sendall(rest)


def read_stream(calls: "Calls", sidecar: "Sidecar", begun: threading.Semaphore) -> None:
    """A client that reads a stream to its end."""
    with sidecar.connect() as client:
        number, body = calls.begin_one(client, b"/v1/stream")
        first, rest = chunks_of(body)
        assert first in receive_until(client, first)
        begun.release()
        assert receive(client, len(rest)) == rest
        calls.answered.add(number)


def test_sigterm_under_load_answers_what_it_took_and_leaves_the_books_closed(
    start_sidecar: "StartSidecar",
    start_storage: "StartStorage",
    start_model: "Callable[..., Model]",
    calls: "Calls",
    tmp_path: Path,
) -> None:
    """No 5xx, no half answer: each call is whole or never began, each stream goes on to its end; what is
    unsent is sent next time.
    """
    storage = start_storage()
    settings = {"spool_dir": str(tmp_path / "kept"), "storage": storage.address}
    for _ in range(2):
        model = Streaming()
        sidecar = start_sidecar(start_model(model).address, **settings)
        begun = threading.Semaphore(0)
        with futures.ThreadPoolExecutor(8) as clients:
            leaving = [clients.submit(leave, calls, sidecar) for _ in range(4)]
            streaming = [clients.submit(read_stream, calls, sidecar, begun) for _ in range(4)]
            for _ in streaming:
                assert begun.acquire(timeout=30)
            calls.await_answers(300)
            sidecar.process.send_signal(signal.SIGTERM)
            await_true(functools.partial(sidecar.events, "draining: relays finish"), "it drains")
            model.may_end.set()
            assert sidecar.process.wait(60) == 0
            for each in (*leaving, *streaming):
                each.result(30)
        (ended,) = sidecar.events("sidecar ended")
        assert ended["balanced"]
        assert sidecar.events("drain time is up") == []
    unanswered = len(calls.begun) - len(calls.answered)
    assert unanswered <= 8, "only calls that met a closing connection"
    sidecar = start_sidecar(calls.model, **settings)
    account = settle(sidecar, storage, calls, unseen=unanswered)
    for loss in ("dropped", "lost_crash"):
        assert account["earlier"][loss] == 0
    assert account["earlier"]["appended"] >= len(calls.answered)


def test_grace_that_expires_is_as_a_crash_and_the_next_start_closes_the_books(
    start_sidecar: "StartSidecar", start_storage: "StartStorage", calls: "Calls", link: "Link", tmp_path: Path
) -> None:
    """TERM, and KILL two seconds later in mid-drain: what was acknowledged is there, the rest is counted."""
    settings = {"spool_dir": str(tmp_path / "kept"), "storage": link.address, "drain_seconds": "30"}
    unseen = 0
    for _ in range(2):
        sidecar = start_sidecar(calls.model, **settings, drain_delay_seconds="30")
        with calls.under_way(sidecar, CLIENTS, 0.001, is_killed=True):
            sidecar.await_account(lambda each: each["hand_over"]["appended"] > 200)
            sidecar.process.send_signal(signal.SIGTERM)
            calls.await_answers(200)
            noted = await_note(sidecar, calls) - CLIENTS
            kill_whole(sidecar)
        unseen += len(calls.begun) - noted
    storage = start_storage()
    link.storage = storage.address
    sidecar = start_sidecar(calls.model, **settings)
    account = settle(sidecar, storage, calls, unseen=unseen)
    assert account["earlier"]["seen"] > 400
