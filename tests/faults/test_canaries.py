"""Canaries: after crashes at work, a full disk and a file that was given up, nothing raw is on any disk."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar.spool.tables import DATA_FILE
from tests.faults.test_disk import fill
from tests.journeys.conftest import await_true, receive_until
from tests.journeys.test_canaries import HARMLESS, WORD, around, cores, encoded, files_under, mail

if TYPE_CHECKING:
    from tests.faults.calls import Calls
    from tests.journeys.conftest import Sidecar, Storage

pytestmark = pytest.mark.faults


def call(sidecar: "Sidecar", number: int) -> None:
    """A question with canaries in it, one of them encoded, that comes in two pieces, cut within a canary; the
    answer is the echo.
    """
    address = mail(f"crash{number}")
    body = json.dumps(
        {
            "to": address,
            "hidden": list(encoded(address).values())[number % len(encoded(""))],
            "text": f"{HARMLESS} {number}",
            "more": "x" * 20_000,
        }
    )
    head = (
        b"POST /v1/%s HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n"
        % (mail("path").encode(), mail("bearer").encode(), len(body))
    )
    cut = len(head) + body.index(WORD) + 3
    with sidecar.connect() as client:
        client.sendall((head + body.encode())[:cut])
        time.sleep(0.005)  # for two reads of the relay
        client.sendall((head + body.encode())[cut:])
        receive_until(client, b'x"}')


def test_no_canary_is_left_by_crashes_and_damage(
    start_sidecar: "Callable[..., Sidecar]",
    start_storage: "Callable[..., Storage]",
    calls: "Calls",
    mount: Callable[[int], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Children die at work, the disk is full, the file is cut and set aside: nothing left has a canary."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    disk = mount(192)
    before = cores()
    storage = start_storage()
    sidecar = start_sidecar(
        calls.model, storage=storage.address, spool_dir=str(disk / "spool"), spool_bytes="128MiB"
    )
    made = 0
    for child, number in (
        ("recorder", signal.SIGSEGV),
        ("relay 0", signal.SIGABRT),
        ("recorder", signal.SIGKILL),
    ):
        pid = sidecar.pid(child)
        for _ in range(30):
            call(sidecar, made)
            made += 1
        sidecar.await_account(lambda each: each["hand_over"]["appended"] > 0)
        os.kill(pid, number)
        await_true(lambda child=child, pid=pid: sidecar.pid(child) != pid, f"{child} is started again")
    sidecar.await_settled()
    fill(disk / "filler")
    call(sidecar, made)
    made += 1
    sidecar.await_settled()
    (disk / "filler").unlink()
    storage.kill()
    data = disk / "spool" / DATA_FILE
    with data.open("r+b") as file:
        file.truncate(data.stat().st_size // 2)
    while not sidecar.events("spool_set_aside"):
        call(sidecar, made)
        made += 1
    storage = start_storage(storage.archive, storage_listen=storage.address)
    call(sidecar, made)
    account = sidecar.await_account(
        lambda each: (
            each["balanced"] and each["hand_over"]["in_transit"] == 0 and each["spool"]["pending"] == 0
        ),
        75,
    )
    assert account["calls"]["seen"] == made + 1
    raw = dict(files_under(tmp_path))
    spool = [content for name, content in raw.items() if name.startswith("disk-0/spool/")]
    assert any("/aside-" in name for name in raw)
    assert any(HARMLESS.encode() in content for content in spool)
    assert [found for name, content in raw.items() if (found := around(name, content))] == []
    assert cores() == before
    served = "".join(map(str, [*sidecar.records(), *storage.records()]))
    assert around("served", served.encode()) is None
    assert HARMLESS in served
