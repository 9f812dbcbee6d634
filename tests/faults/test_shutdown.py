"""Shutdown: SIGTERM while calls pass and answers stream, and a grace period that ends before it is done."""

import contextlib
import signal
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.killing import await_note, kill_whole
from tests.faults.settling import settle

if TYPE_CHECKING:
    from tests.faults.calls import Calls
    from tests.journeys.conftest import Sidecar, Storage
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


def test_sigterm_under_load_answers_what_it_took_and_leaves_the_books_closed(
    start_sidecar: "StartSidecar", start_storage: "StartStorage", calls: "Calls", tmp_path: Path
) -> None:
    """No 5xx, no half answer: each call is whole or never began; what is unsent is sent next time."""
    storage = start_storage()
    settings = {"spool_dir": str(tmp_path / "kept"), "storage": storage.address}
    for _ in range(2):
        sidecar = start_sidecar(calls.model, **settings)
        with futures.ThreadPoolExecutor(4) as clients:
            leaving = [clients.submit(leave, calls, sidecar) for _ in range(4)]
            calls.await_answers(300)
            assert sidecar.stop() == 0
            for each in leaving:
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
