"""Journeys of what administrators do: delete a person's records, back up, restore, keep the archive small."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.journeys.answering import answer
from tests.journeys.conftest import await_true

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar, Storage
    from tests.journeys.link import Link

    StartModel = Callable[[Callable[[socket.socket], None]], Model]
    StartSidecar = Callable[..., Sidecar]
    StartStorage = Callable[..., Storage]

SECONDS = 30


def call(sidecar: "Sidecar", numbers: range, **headers: str) -> None:
    host, port = sidecar.address
    with httpx.Client(timeout=SECONDS) as client:
        for number in numbers:
            sent = {"x-request-id": f"call-{number}", **headers}
            client.get(f"http://{host}:{port}/x", headers=sent).raise_for_status()


def infertap(*arguments: object, typed: str = "") -> str:
    """What the command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "infertap.cli", *map(str, arguments)],
        input=typed,
        capture_output=True,
        text=True,
        timeout=SECONDS * 2,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def told(storage: "Storage") -> list[str]:
    return sorted((record.request_id for record in storage.records()), key=lambda each: int(each[5:]))


def names(numbers: range) -> list[str]:
    return [f"call-{number}" for number in numbers]


def test_restored_backup_is_filled_up_by_sidecars(
    start_model: "StartModel",
    start_sidecar: "StartSidecar",
    start_storage: "StartStorage",
    link: "Link",
    tmp_path: Path,
) -> None:
    """Storage lost its disk; what came after the backup comes again from the spools, all of it once."""
    storage = start_storage()
    link.storage = storage.address
    sidecar = start_sidecar(start_model(answer).address, storage=link.address)
    call(sidecar, range(20))
    storage.await_records(20)
    backed_up = infertap("storage", "backup", tmp_path / "backup", "--address", storage.address)
    assert "each checked" in backed_up
    call(sidecar, range(20, 35))
    storage.await_records(35)
    storage.kill()
    link.cut()
    shutil.rmtree(storage.archive)
    restored = infertap("storage", "restore", tmp_path / "backup", storage.archive)
    assert "20 records" in restored
    again = start_storage(storage.archive)
    link.storage = again.address
    again.await_records(35)
    call(sidecar, range(35, 40))
    again.await_records(40)
    sidecar.await_account(lambda account: account["spool"]["pending"] == 0)
    assert told(again) == names(range(40))
    assert sorted(record.sequence for record in again.records()) == list(range(1, 41))


def test_persons_records_are_deleted_everywhere(
    start_model: "StartModel",
    start_sidecar: "StartSidecar",
    start_storage: "StartStorage",
    link: "Link",
    tmp_path: Path,
) -> None:
    """By the user id as callers send it: from storage, and from the spool that still retains them."""
    key = tmp_path / "key"
    key.write_text("a key of at least sixteen bytes")
    storage = start_storage(hash_key_file=str(key))
    link.storage = storage.address
    sidecar = start_sidecar(
        start_model(answer).address,
        storage=link.address,
        user_header="x-user",
        hash_key_file=str(key),
    )
    call(sidecar, range(5), **{"x-user": "ada"})
    call(sidecar, range(5, 10), **{"x-user": "grace"})
    storage.await_records(10)
    sidecar.await_account(lambda account: account["spool"]["pending"] == 0)
    assert len(sidecar.records()) == 10
    asked = ("storage", "delete", "--raw-user", "-", "--address", storage.address)
    counted = infertap(*asked, "--dry-run", typed="ada\n")
    assert counted.startswith("5 calls of hmac:")
    assert len(storage.records()) == 10
    assert "deleted: 5 records" in infertap(*asked, "--yes", typed="ada\n")
    assert told(storage) == names(range(5, 10))
    await_true(lambda: len(sidecar.records()) == 5, "the spool has dropped them")
    assert {record.caller.user for record in sidecar.records()} == {
        record.caller.user for record in storage.records()
    }
    log = storage.log_path.read_text()
    assert "ada" not in log
    call(sidecar, range(10, 12), **{"x-user": "ada"})
    storage.await_records(7)
    assert told(storage) == names(range(5, 12))


def test_deleted_before_it_came(
    start_model: "StartModel",
    start_sidecar: "StartSidecar",
    start_storage: "StartStorage",
    link: "Link",
    tmp_path: Path,
) -> None:
    """A person's records that were still on their way are neither kept by storage nor by the sidecar."""
    key = tmp_path / "key"
    key.write_text("a key of at least sixteen bytes")
    storage = start_storage(hash_key_file=str(key))
    link.storage = storage.address
    known = {"user_header": "x-user", "hash_key_file": str(key)}
    sidecar = start_sidecar(start_model(answer).address, storage=link.address, **known)
    call(sidecar, range(2), **{"x-user": "ada"})
    storage.await_records(2)
    link.cut()
    call(sidecar, range(2, 5), **{"x-user": "ada"})
    call(sidecar, range(5, 8), **{"x-user": "grace"})
    asked = ("storage", "delete", "--raw-user", "-", "--address", storage.address)
    assert "deleted: 2 records" in infertap(*asked, "--yes", typed="ada\n")
    link.storage = storage.address
    storage.await_records(3)
    await_true(lambda: len(sidecar.records()) == 3, "the spool has dropped them")
    assert told(storage) == names(range(5, 8))
    sidecar.await_account(lambda account: account["spool"]["pending"] == 0)


def test_archive_stays_under_its_limit(start_storage: "StartStorage") -> None:
    """The setting is obeyed by a process that runs, and told by `infertap storage status`."""
    storage = start_storage(archive_disk_bytes="256MiB", retention_age="llama*=30d,*=90d")
    shown = infertap("storage", "status", "--address", storage.address)
    assert "of 268,435,456 on disk" in shown
