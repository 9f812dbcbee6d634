"""Resources: too little memory, no descriptors, a recorder that hangs, a model that breaks off."""

import contextlib
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infertap import v1
from tests.faults.calls import STREAM, body_of, events_of, name_of
from tests.faults.settling import metrics, settle
from tests.faults.tools import require
from tests.journeys.conftest import await_true, reset

if TYPE_CHECKING:
    from tests.faults.calls import Calls
    from tests.journeys.conftest import Model, Sidecar, Storage

    StartSidecar = Callable[..., Sidecar]
    StartStorage = Callable[..., Storage]

pytestmark = pytest.mark.faults

DESCRIPTORS = 64


def quantile(waits: list[float], share: float) -> float:
    return sorted(waits)[int(len(waits) * share)]


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_recorder_without_memory_costs_records_and_no_call(
    start_sidecar: "StartSidecar", start_storage: "StartStorage", calls: "Calls"
) -> None:
    """With no address space left it drops or dies, which is counted; traffic and probes are untouched."""
    calls.size = 300_000
    storage = start_storage()
    sidecar = start_sidecar(calls.model, storage=storage.address)
    with calls.under_way(sidecar, clients=2):
        await_true(lambda: sidecar.account()["hand_over"]["appended"] > 10, "it records")
        recorder = sidecar.pid("recorder")
        # Below what it has: nothing more can be had.
        resource.prlimit(recorder, resource.RLIMIT_AS, (64 << 20, 64 << 20))

        def suffers() -> bool:
            hand_over = sidecar.account()["hand_over"]
            return bool(hand_over["dropped_recorder_fault"]) or sidecar.pid("recorder") != recorder

        await_true(suffers, "the limit is felt")
        calls.await_answers(50)
        assert sidecar.is_ready()
        with contextlib.suppress(ProcessLookupError):
            os.kill(recorder, signal.SIGKILL)
        await_true(lambda: sidecar.pid("recorder") != recorder, "a new recorder")
        calls.await_answers(50)
    settle(sidecar, storage, calls)


def test_sidecar_without_descriptors_waits_and_does_not_spin(
    start_sidecar: "StartSidecar", start_storage: "StartStorage", calls: "Calls"
) -> None:
    """More clients than descriptors: those that are in are served, the others wait, at no cost of CPU."""
    storage = start_storage()
    limit = (require("prlimit"), f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    sidecar = start_sidecar(calls.model, storage=storage.address, under=limit)
    calls.make(sidecar, 20)
    sidecar.await_account(lambda each: each["spool"]["acked"] == 20)
    relay = sidecar.pid("relay 0")
    with contextlib.ExitStack() as many:
        served = many.enter_context(sidecar.connect())
        calls.make_one(served)
        clients = [many.enter_context(sidecar.connect()) for _ in range(3 * DESCRIPTORS)]
        await_true(
            lambda: metrics(sidecar)['infertap_relay_accepting_paused_total{relay="0"}'] > 0, "it pauses"
        )
        before, began = cpu_seconds(relay), time.monotonic()
        for _ in range(40):
            calls.make_one(served)
            time.sleep(0.05)
        assert cpu_seconds(relay) - before < 0.5 * (time.monotonic() - began)
        assert sidecar.get("/healthz")[0] == 200
        for client in clients:
            client.close()
    calls.make(sidecar, 20)
    settle(sidecar, storage, calls)


def test_recorder_that_hangs_leaves_latency_as_it_was(
    start_sidecar: "StartSidecar", start_storage: "StartStorage", calls: "Calls"
) -> None:
    """Stopped, its share of the work waits or is shed; calls take as long as before, and it goes on after."""
    storage = start_storage()
    sidecar = start_sidecar(calls.model, storage=storage.address)
    with calls.under_way(sidecar, pause=0.002):
        await_true(lambda: sidecar.account()["hand_over"]["appended"] > 300, "it records")
        stopped_at = time.monotonic()
        os.kill(sidecar.pid("recorder"), signal.SIGSTOP)
        calls.await_answers(1_000)
        went_on_at = time.monotonic()
        os.kill(sidecar.pid("recorder"), signal.SIGCONT)
        assert sidecar.is_ready()
    running = [wait for ended, wait in calls.waits if ended < stopped_at]
    stopped = [wait for ended, wait in calls.waits if stopped_at <= ended < went_on_at]
    assert quantile(stopped, 0.5) < 2 * quantile(running, 0.5) + 0.005
    assert quantile(stopped, 0.99) < 2 * quantile(running, 0.99) + 0.05
    account = settle(sidecar, storage, calls)
    assert account["hand_over"]["lost_crash"] == 0


def answer_to(number: int, body: bytes) -> bytes:
    """All that the model says to a call: every other pair of calls is answered by an event stream."""
    if number % 4 in (1, 2):
        events = events_of(body)
        return STREAM + b"%x\r\n%s\r\n0\r\n\r\n" % (len(events), events)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    return head + body


def said_to(number: int, body: bytes) -> bytes:
    """What of it comes before the model breaks off, as it does with every odd call."""
    answer = answer_to(number, body)
    return answer[: len(answer) - len(body) // 2] if number % 2 else answer


def half(connection: socket.socket) -> None:
    """A model that breaks every other answer off: by a reset amidst events, or an end that comes too soon."""
    received = b""
    while b'"}' not in received:
        piece = connection.recv(1 << 16)
        if not piece:
            return
        received += piece
    number = int(received.partition(b"call-")[2].split(b"\r\n")[0])
    connection.sendall(said_to(number, received.partition(b"\r\n\r\n")[2]))
    if number % 4 == 1:
        time.sleep(0.05)  # so that the bytes are not overtaken by the reset
        reset(connection)


def test_model_that_breaks_off_is_passed_on_as_it_is_and_recorded_as_broken(
    start_sidecar: "StartSidecar",
    start_storage: "StartStorage",
    start_model: "Callable[..., Model]",
    calls: "Calls",
) -> None:
    """Resets stay resets, ends stay ends, with the same bytes before; clients that half-close get answers."""
    storage = start_storage()
    sidecar = start_sidecar(start_model(half).address, storage=storage.address)
    for number in range(40):
        body = body_of(number, 200)
        with sidecar.connect() as client:
            calls.begun.add(number)
            client.sendall(
                b"POST /v1/x HTTP/1.1\r\nHost: m\r\nx-request-id: %s\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (name_of(number).encode(), len(body), body)
            )
            if number % 8 == 0:
                client.shutdown(socket.SHUT_WR)
            received = b""
            with pytest.raises(ConnectionResetError) if number % 4 == 1 else contextlib.nullcontext():
                while piece := client.recv(1 << 16):
                    received += piece
            wanted = said_to(number, body).partition(b"\r\n\r\n")[2]
            assert received.partition(b"\r\n\r\n")[2] == wanted
    records = storage.await_records(40)
    for record in records:
        is_whole = int(record.request_id.removeprefix("call-")) % 2 == 0
        assert (record.state == v1.COMPLETED) == is_whole, record.request_id
    assert sum(record.response.content_type == "text/event-stream" for record in records) == 20
    settle(sidecar, storage, calls)
