"""Crashes: kill -9 at any moment, and a power cut in the middle of any write."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar.spool.tables import DATA_FILE, require_sound
from tests.faults import spool_writer, writes
from tests.faults.killing import await_note, kill_whole
from tests.faults.settling import settle
from tests.faults.tools import require

if TYPE_CHECKING:
    from tests.faults.calls import Calls
    from tests.journeys.conftest import Sidecar, Storage

pytestmark = pytest.mark.faults

KILLS = 500
CUTS = 600
CLIENTS = 3


@contextlib.contextmanager
def nursery(directory: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that forks a new writer of the spool at each line it reads: starting is what takes long."""
    command = [sys.executable, "-m", "tests.faults.spool_writer", str(directory), "--nursery"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def test_killed_500_times_in_mid_commit_loses_nothing_it_had_acknowledged(tmp_path: Path) -> None:
    """Acknowledged is a subset of stored after each of 500 kills, and the file is clean."""
    rng = random.Random(500)
    directory = tmp_path / "spool"
    said = 0
    with nursery(directory) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for kill in range(KILLS):
            process.stdin.write(b"go\n")
            process.stdin.flush()
            pid = int(process.stdout.readline())
            for _ in range(rng.randrange(8)):
                line = process.stdout.readline()
                said = max(said, int(line))
            time.sleep(rng.random() * 0.003)
            os.kill(pid, signal.SIGKILL)
            while (line := process.stdout.readline()) != b"dead\n":
                # What it said and we had not read.
                said = max(said, int(line))
            if kill % 10 == 9:
                spool_writer.check(directory, said)
    require_sound(directory / DATA_FILE)
    assert said > KILLS
    assert list(directory.glob("aside-*")) == []


def test_power_cut_in_the_middle_of_any_write_leaves_what_was_acknowledged(tmp_path: Path) -> None:
    """However the unsynced writes are torn, the file opens, and holds every record that was acknowledged."""
    require("strace")
    directory = tmp_path / "spool"
    command = [sys.executable, "-m", "tests.faults.spool_writer", str(directory), "--batches", "60"]
    events = writes.watch(command, tmp_path / "strace.log", directory / DATA_FILE)
    assert sum(isinstance(event, writes.Said) for event in events) == 60
    rng = random.Random(2)
    for turn in range(CUTS):
        cut = rng.randrange(1, len(events))
        found = tmp_path / f"found-{turn}"
        found.mkdir()
        (found / DATA_FILE).write_bytes(writes.after_power_cut(events, cut, rng))
        said = [int(event.text) for event in events[:cut] if isinstance(event, writes.Said)]
        spool_writer.check(found, max(said, default=0))
        if said:
            assert list(found.glob("aside-*")) == [], "sound files are never given up"
        shutil.rmtree(found)


def test_sidecar_killed_in_parts_and_whole_under_load_loses_nothing_that_was_acknowledged(
    start_sidecar: "Callable[..., Sidecar]",
    start_storage: "Callable[..., Storage]",
    calls: "Calls",
    tmp_path: Path,
) -> None:
    """Recorder, relay or everything is killed while calls pass; in the end each is accounted for."""
    storage = start_storage()
    settings = {"spool_dir": str(tmp_path / "the-spool"), "storage": storage.address}
    unseen = 0
    for turn in range(6):
        sidecar = start_sidecar(calls.model, **settings)
        with calls.under_way(sidecar, CLIENTS, is_killed=True):
            calls.await_answers(100)
            noted = await_note(sidecar, calls) - CLIENTS
            if turn % 3 < 2:
                os.kill(sidecar.pid(("recorder", "relay 0")[turn % 3]), signal.SIGKILL)
                time.sleep(0.2 * turn)
            kill_whole(sidecar)
        unseen += len(calls.begun) - noted
    sidecar = start_sidecar(calls.model, **settings)
    calls.make(sidecar, 50)
    settle(sidecar, storage, calls, unseen=unseen)
