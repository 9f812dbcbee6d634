"""Disk: full, small, failing, read-only. Traffic passes, what could not be kept is counted, it recovers."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults import spool_writer
from tests.faults.settling import metrics, settle
from tests.faults.tools import FaultInjection
from tests.journeys.conftest import await_true

if TYPE_CHECKING:
    from tests.faults.calls import Calls
    from tests.journeys.conftest import Sidecar, Storage
    from tests.journeys.link import Link

    StartSidecar = Callable[..., Sidecar]
    StartStorage = Callable[..., Storage]

pytestmark = pytest.mark.faults


def fill(file: Path) -> None:
    """Take all that the disk has left."""
    with file.open("wb", buffering=0) as filler:
        for size in (1 << 16, 1 << 10):
            try:
                while True:
                    filler.write(bytes(size))
            except OSError:
                pass


def test_full_disk_costs_records_that_are_counted_and_no_call(
    start_sidecar: "StartSidecar",
    start_storage: "StartStorage",
    calls: "Calls",
    link: "Link",
    mount: Callable[[int], Path],
) -> None:
    """A disk that is full, then smaller than the quota: every call is answered; recording goes on."""
    disk = mount(8)
    calls.size = 20_000
    sidecar = start_sidecar(
        calls.model, storage=link.address, spool_bytes="16MiB", spool_dir=str(disk / "spool")
    )
    with calls.under_way(sidecar):
        await_true(lambda: sidecar.account()["hand_over"]["appended"], "it records")
        fill(disk / "filler")
        await_true(lambda: sidecar.account()["hand_over"]["dropped_spool_failed"] > 20, "records are dropped")
        calls.await_answers(100)
        assert sidecar.is_ready()
        assert sidecar.events("spool takes nothing: records are dropped")
        (disk / "filler").unlink()
        await_true(lambda: sidecar.account()["spool"]["evicted_unacked"] > 20, "the oldest make room")
    storage = start_storage()
    link.storage = storage.address
    account = settle(sidecar, storage, calls)
    assert account["spool"]["acked"] > 10


def test_full_map_makes_room_of_the_oldest_and_storage_is_told_of_the_gap(
    start_sidecar: "StartSidecar", start_storage: "StartStorage", calls: "Calls", link: "Link"
) -> None:
    """With storage away beyond the quota the oldest go; storage gets the rest, and knows what it lacks."""
    calls.size = 200_000
    sidecar = start_sidecar(calls.model, storage=link.address, spool_bytes="16MiB")
    with calls.under_way(sidecar):
        await_true(lambda: sidecar.account()["spool"]["evicted_unacked"] > 30, "the oldest make room")
    storage = start_storage()
    link.storage = storage.address
    account = settle(sidecar, storage, calls)
    assert account["hand_over"]["dropped_spool_failed"] == 0
    assert account["spool"]["acked"] > 10


@pytest.mark.parametrize("point", ["sync/*", "rw/pwrite", "rw/writev", "rw/pwrite/reduce", "rw/pread/reduce"])
def test_writer_whose_disk_fails_now_and_then_loses_nothing_it_had_acknowledged(
    tmp_path: Path, point: str
) -> None:
    """fsync, the write of the meta page or any other fails, or is short: no acknowledgement, and again."""
    faults = FaultInjection(tmp_path)
    directory = tmp_path / "spool"
    command = [sys.executable, "-m", "tests.faults.spool_writer", str(directory), "--stubborn"]
    with subprocess.Popen([*faults.under, *command], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = [int(process.stdout.readline()) for _ in range(20)]
        faults.enable(process.pid, f"posix/io/{point}", 0.1)
        said += [int(process.stdout.readline()) for _ in range(200)]
        faults.disable(process.pid, f"posix/io/{point}")
        said += [int(process.stdout.readline()) for _ in range(20)]
        process.kill()
        said += [int(line) for line in process.stdout.read().split(b"\n")[:-1]]
    assert spool_writer.check(directory, max(said)) >= max(said)
    assert list(directory.glob("aside-*")) == []


@pytest.mark.parametrize("point", ["posix/io/sync/*", "posix/io/rw/pwrite"])
def test_recorder_whose_disk_fails_drops_what_it_could_not_keep_and_goes_on(
    start_sidecar: "StartSidecar",
    start_storage: "StartStorage",
    calls: "Calls",
    tmp_path: Path,
    point: str,
) -> None:
    """While every fsync or write fails, calls are answered and counted as dropped; then recording resumes."""
    faults = FaultInjection(tmp_path)
    storage = start_storage()
    sidecar = start_sidecar(calls.model, under=faults.under, storage=storage.address)
    with calls.under_way(sidecar, pause=0.002):
        await_true(lambda: sidecar.account()["hand_over"]["appended"] > 50, "it records")
        recorder = sidecar.pid("recorder")
        faults.enable(recorder, point, 0.2)
        await_true(lambda: sidecar.account()["hand_over"]["dropped_spool_failed"] > 20, "records are dropped")
        faults.enable(recorder, point, 1.0)
        calls.await_answers(100)
        assert sidecar.is_ready()
        faults.disable(recorder, point)
        calls.await_answers(50)
    before = sidecar.await_settled()["hand_over"]
    calls.make(sidecar, 20)
    account = settle(sidecar, storage, calls)["hand_over"]
    assert account["appended"] == before["appended"] + 20
    assert sidecar.pid("recorder") == recorder, "a failing disk is no reason to die"


def test_disk_that_turns_read_only_costs_records_and_raises_the_alarm(
    start_sidecar: "StartSidecar",
    start_storage: "StartStorage",
    calls: "Calls",
    mount: Callable[[int], Path],
) -> None:
    """While the spool can't be written calls are answered and metrics tell; then it goes on."""
    disk = mount(64)
    storage = start_storage()
    sidecar = start_sidecar(calls.model, storage=storage.address, spool_dir=str(disk / "spool"))
    calls.make(sidecar, 30)
    sidecar.await_settled()
    remount_killing(sidecar, disk)
    await_true(lambda: metrics(sidecar)['infertap_process_up{process="recorder"}'] == 0, "recorder is down")
    calls.make(sidecar, 30)
    assert metrics(sidecar)["infertap_in_transit"] == 30
    assert await_true(lambda: sidecar.events("can't record"), "the log says why")
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    await_true(lambda: metrics(sidecar)['infertap_process_up{process="recorder"}'] == 1, "recorder is up")
    calls.make(sidecar, 30)
    account = settle(sidecar, storage, calls)
    assert account["hand_over"]["lost_crash"] == 0


def remount_killing(sidecar: "Sidecar", disk: Path) -> None:
    """Mount read-only in the moment between two recorders, for a disk that is written to can't be."""

    def remounted() -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(sidecar.pid("recorder"), signal.SIGKILL)
        command = ["mount", "-o", "remount,ro", str(disk)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    await_true(remounted, "disk is read-only")
