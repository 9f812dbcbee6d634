"""Readers and writers that are not ours: one that dies, one that stops, a second sidecar."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar.spool import Spool
from sidecar.spool.tables import DATA_FILE
from tests.faults import spool_writer
from tests.faults.settling import metrics, settle
from tests.journeys.conftest import await_true

if TYPE_CHECKING:
    from tests.faults.calls import Calls
    from tests.journeys.conftest import Sidecar, Storage
    from tests.journeys.link import Link

    StartSidecar = Callable[..., Sidecar]
    StartStorage = Callable[..., Storage]

pytestmark = pytest.mark.faults

# Takes a snapshot, and keeps it.
_READER = """
import sys, time, lmdb
env = lmdb.open(sys.argv[1], max_dbs=8, readonly=True)
with env.begin() as txn:
    txn.stat()
    print("reading", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def reader() -> Iterator[Callable[[Path], "subprocess.Popen[bytes]"]]:
    """Starts processes that read a spool and don't end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(directory: Path) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen([sys.executable, "-c", _READER, str(directory)], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"reading\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def pass_through(spool: Spool, count: int) -> None:
    """Append and acknowledge so many records of 9 kB, keeping few."""
    for _ in range(count // 10):
        number = spool.account().next_sequence
        spool.append([(bytes(16), b"x" * 9_000)] * 10)
        spool.ack([(1, number)])


def test_reader_that_was_killed_does_not_make_the_file_grow(
    tmp_path: Path, reader: "Callable[[Path], subprocess.Popen[bytes]]"
) -> None:
    """Its snapshot is given up at the next check, and freed pages are used again."""
    directory = tmp_path / "spool"
    spool = Spool.open(directory, 64 << 20, ring=False)
    pass_through(spool, 100)
    killed = reader(directory)
    killed.kill()
    killed.wait()
    assert spool.check_readers() == 1
    # 80 MB through a file of 64: each record stays until its room is needed, but no page is held back.
    pass_through(spool, 9_000)
    assert (directory / DATA_FILE).stat().st_size <= 64 << 20
    account = spool.account()
    assert account.evicted_unacked == 0
    assert account.appended == account.acked + account.pending == 9_100
    spool.close()


def test_stopped_reader_holds_pages_but_no_call_and_the_quota_stands(
    start_sidecar: "StartSidecar",
    start_storage: "StartStorage",
    calls: "Calls",
    link: "Link",
    reader: "Callable[[Path], subprocess.Popen[bytes]]",
) -> None:
    """A reader that hangs fills the map: records are dropped, counted, and told in the log; no more disk."""
    calls.size = 200_000
    sidecar = start_sidecar(calls.model, storage=link.address, spool_bytes="16MiB")
    directory = Path(sidecar.environ["INFERTAP_SPOOL_DIR"])
    with calls.under_way(sidecar):
        await_true(lambda: sidecar.account()["hand_over"]["appended"] > 20, "it records")
        stopped = reader(directory)
        os.kill(stopped.pid, signal.SIGSTOP)
        await_true(lambda: sidecar.account()["hand_over"]["dropped_spool_failed"] > 10, "records are dropped")
        (said,) = sidecar.events("spool takes nothing: records are dropped")[:1]
        assert "reader" in said["reason"]
        assert metrics(sidecar)['infertap_recorder_dropped_total{reason="spool_failed"}'] > 0
        assert (directory / DATA_FILE).stat().st_size <= 16 << 20
        stopped.kill()
        stopped.wait()
        appended = sidecar.account()["hand_over"]["appended"]
        await_true(lambda: sidecar.account()["hand_over"]["appended"] > appended + 20, "recording resumes")
    storage = start_storage()
    link.storage = storage.address
    settle(sidecar, storage, calls)


def test_second_sidecar_on_one_directory_records_nothing_and_serves_all_the_same(
    start_sidecar: "StartSidecar", start_storage: "StartStorage", calls: "Calls", tmp_path: Path
) -> None:
    """Its recorder refuses with a line that names the owner; its calls pass; the other's books are whole."""
    storage = start_storage()
    directory = tmp_path / "one-spool"
    first = start_sidecar(calls.model, storage=storage.address, spool_dir=str(directory))
    calls.make(first, 20)
    first.await_account(lambda each: each["spool"]["appended_ever"] == 20)
    second = start_sidecar(calls.model, storage=storage.address, spool_dir=str(directory))
    others = type(calls)(calls.model)
    others.make(second, 20)
    (refused,) = await_true(lambda: second.events("can't record"), "the second one refuses")[:1]
    assert f"in use by another sidecar (process {first.pid('recorder')})" in refused["reason"]
    assert second.is_ready()
    assert second.account()["hand_over"]["in_transit"] == 20
    assert metrics(second)['infertap_process_up{process="recorder"}'] == 0
    second.process.kill()
    second.process.wait()
    calls.make(first, 20)
    settle(first, storage, calls)


def test_writer_that_comes_second_is_refused_while_the_first_is_stopped(tmp_path: Path) -> None:
    """An owner that hangs is an owner still; one that was killed is not."""
    directory = tmp_path / "spool"
    command = [sys.executable, "-m", "tests.faults.spool_writer", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        said = int(first.stdout.readline())
        os.kill(first.pid, signal.SIGSTOP)
        refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert "SpoolLocked" in refused.stderr
        assert f"process {first.pid}" in refused.stderr
        first.kill()
        first.wait()
        assert spool_writer.check(directory, said) >= said
