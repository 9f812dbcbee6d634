"""Journey 5: storage is away, or dies between commit and acknowledgement: nothing lost, nothing twice."""

import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.journeys.answering import answer

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar, Storage
    from tests.journeys.link import Link

    StartModel = Callable[[Callable[[socket.socket], None]], Model]
    StartSidecar = Callable[..., Sidecar]
    StartStorage = Callable[..., Storage]

SECONDS = 30


def call(sidecar: "Sidecar", client: httpx.Client, numbers: range) -> None:
    host, port = sidecar.address
    for number in numbers:
        client.get(f"http://{host}:{port}/x", headers={"x-request-id": f"call-{number}"}).raise_for_status()


def await_pending(sidecar: "Sidecar", count: int) -> None:
    sidecar.await_account(
        lambda account: account["hand_over"]["in_transit"] == 0 and account["spool"]["pending"] == count
    )


def check_each_once(storage: "Storage", sidecar: "Sidecar", count: int) -> None:
    """Storage has each call once, with all sequences from 1; the sidecar knows that it has."""
    records = storage.await_records(count)
    assert sorted(record.request_id for record in records) == sorted(f"call-{each}" for each in range(count))
    assert sorted(record.sequence for record in records) == list(range(1, count + 1))
    await_pending(sidecar, 0)
    account = sidecar.await_settled()
    assert (account["spool"]["acked"], account["spool"]["evicted_unacked"]) == (count, 0)
    assert len(storage.records()) == count


def test_storage_that_comes_later(
    start_model: "StartModel", start_sidecar: "StartSidecar", start_storage: "StartStorage", link: "Link"
) -> None:
    """Calls made before there is a storage are sent once there is; until then the sidecar serves them."""
    sidecar = start_sidecar(start_model(answer).address, storage=link.address)
    with httpx.Client(timeout=SECONDS) as client:
        call(sidecar, client, range(40))
        await_pending(sidecar, 40)
        assert sidecar.is_ready()
        assert len(sidecar.records()) == 40
        storage = start_storage()
        link.storage = storage.address
        check_each_once(storage, sidecar, 40)
        assert len(sidecar.records()) == 40, "what was forwarded stays readable until the room is needed"


def test_killed_between_commit_and_acknowledgement(
    start_model: "StartModel", start_sidecar: "StartSidecar", start_storage: "StartStorage", link: "Link"
) -> None:
    """What storage committed and could not acknowledge is sent again, and kept once."""
    storage = start_storage()
    link.storage = storage.address
    sidecar = start_sidecar(start_model(answer).address, storage=link.address)
    with httpx.Client(timeout=SECONDS) as client:
        call(sidecar, client, range(10))
        storage.await_records(10)
        await_pending(sidecar, 0)
        link.swallows_answers = True
        call(sidecar, client, range(10, 30))
        storage.await_records(30)
        await_pending(sidecar, 20)
        storage.kill()
        link.cut()
        call(sidecar, client, range(30, 40))
        await_pending(sidecar, 30)
        storage = start_storage(storage.archive)
        link.swallows_answers = False
        link.storage = storage.address
        check_each_once(storage, sidecar, 40)


def test_storage_dies_under_load(
    start_model: "StartModel", start_sidecar: "StartSidecar", start_storage: "StartStorage", link: "Link"
) -> None:
    """Storage is killed again and again while calls go on: no client notices, and each is stored once."""
    sidecar = start_sidecar(start_model(answer).address, storage=link.address)
    storage = start_storage()
    link.storage = storage.address
    done = threading.Event()
    made = 0
    faults: list[Exception] = []

    def load() -> None:
        nonlocal made
        try:
            with httpx.Client(timeout=SECONDS) as client:
                while not done.is_set():
                    call(sidecar, client, range(made, made + 1))
                    made += 1
                    done.wait(0.002)
        except Exception as fault:
            faults.append(fault)

    loading = threading.Thread(target=load)
    loading.start()
    try:
        for _ in range(3):
            storage.await_records(len(storage.records()) + 20)
            storage.kill()
            link.cut()
            before = made
            while made < before + 100 and not faults:
                time.sleep(0.01)
            storage = start_storage(storage.archive)
            link.storage = storage.address
    finally:
        done.set()
        loading.join(SECONDS)
    assert faults == []
    check_each_once(storage, sidecar, made)


@pytest.mark.long
@pytest.mark.timeout(240)
def test_storage_is_away_for_a_minute(
    start_model: "StartModel", start_sidecar: "StartSidecar", start_storage: "StartStorage", link: "Link"
) -> None:
    """Calls go on for a minute without storage; when it is back it gets all of them, once."""
    storage = start_storage()
    link.storage = storage.address
    sidecar = start_sidecar(start_model(answer).address, storage=link.address)
    made = 0
    with httpx.Client(timeout=SECONDS) as client:
        call(sidecar, client, range(20))
        storage.await_records(20)
        await_pending(sidecar, 0)
        storage.kill()
        link.cut()
        back_at = time.monotonic() + 60
        made = 20
        while time.monotonic() < back_at:
            call(sidecar, client, range(made, made + 10))
            made += 10
            time.sleep(0.1)
    await_pending(sidecar, made - 20)
    storage = start_storage(storage.archive)
    link.storage = storage.address
    until = time.monotonic() + 120  # by then the pauses between tries have grown
    while len(storage.records()) < made and time.monotonic() < until:
        time.sleep(1)
    check_each_once(storage, sidecar, made)
