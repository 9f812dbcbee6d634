"""Room: the quota holds, acknowledged records go first, and what storage never got is declared."""

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.spool import Gap, Spool, Spooled, SpoolFull

if TYPE_CHECKING:
    from tests.sidecar.spool.conftest import TriedSpool

OpenSpool = Callable[..., "TriedSpool"]
QUOTA = 16 << 20


def file_bytes(directory: Path) -> int:
    return (directory / "data.mdb").stat().st_size


@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize("size", [700, 4000, 60_000, 3 << 20])
def test_quota_holds(open_spool: OpenSpool, directory: Path, ring: bool, size: int) -> None:
    """Three quotas go in, the file stays within one, the latest are there, all are accounted for."""
    spool = open_spool(QUOTA, ring)
    batch = max(1, min(1000, (2 << 20) // (size + 128)))
    numbers = itertools.count(1)
    appended = 0
    while appended * size < 3 * QUOTA:
        spool.add(itertools.islice(numbers, batch), size)
        appended += batch
    assert file_bytes(directory) <= QUOTA
    account = spool.account()
    assert account.live_bytes <= QUOTA
    assert account.pending + account.expired + account.evicted_unacked == appended
    assert (account.expired > 0) == ring
    assert spool.live()[-1].sequence == appended
    assert account.pending * size > QUOTA // 3, "room is used, not given away"
    spool.check()


def test_acked_go_first(open_spool: OpenSpool) -> None:
    """While acknowledged records are there, nothing that storage lacks makes room."""
    spool = open_spool()
    spool.add(range(1, 4), 1 << 20)
    spool.ack([(2, 3)])
    for number in range(4, 40):
        spool.add([number], 1 << 20)
        spool.ack([(number, number)])
    assert spool.account().evicted_unacked == 0
    assert spool.get(1) is not None
    assert spool.get(2) is None
    assert [entry.first for entry in spool.pending()] == [1]
    spool.check()


def test_evicted_become_one_gap(open_spool: OpenSpool) -> None:
    """What had to go unacknowledged is one gap in its place, whose hash the next record builds on."""
    spool = open_spool()
    for number in range(1, 31):
        spool.add([number], 1 << 20)
    gap, first, *_ = spool.pending()
    assert isinstance(gap, Gap)
    assert isinstance(first, Spooled)
    assert (gap.first, gap.last, gap.reason) == (1, first.sequence - 1, "evicted")
    assert gap.last_hash == first.previous_hash
    assert spool.account().evicted_unacked == gap.last
    spool.ack([(1, gap.last)])
    assert spool.pending()[0] == first
    spool.check()


def test_dead_letters_make_room_too(open_spool: OpenSpool) -> None:
    """A refused record goes when its turn comes, and stays counted as dead."""
    spool = open_spool()
    spool.add([1], 1 << 20)
    spool.dead_letter(1, "no")
    for number in range(2, 31):
        spool.add([number], 1 << 20)
    assert spool.get(1) is None
    assert spool.account().dead_lettered == 1
    spool.check()


_READER = """
import os, signal, sys, lmdb
env = lmdb.open(sys.argv[1], max_dbs=6, map_size=1 << 24, create=False)
txn = env.begin()
print("reading", flush=True)
signal.pause()
"""


def test_reader_that_died(open_spool: OpenSpool, directory: Path) -> None:
    """A reader that was killed in the middle keeps no room for ever."""
    spool = open_spool(QUOTA, ring=True)
    spool.add([1])
    command = [sys.executable, "-c", _READER, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"reading\n"
        reader.kill()
    for number in range(2, 60):
        spool.add([number], 1 << 20)
    assert spool.live()[-1].sequence == 59
    spool.check()


sizes = st.lists(st.integers(0, 3 << 20), min_size=1, max_size=25)


@settings(max_examples=15)
@given(sizes, st.booleans(), st.lists(st.integers(1, 30), max_size=10))
def test_any_mixture(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], ring: bool, acked: list[int]
) -> None:
    """Records of any sizes, some acknowledged, always find room, and the file stays within the quota."""
    directory = tmp_path_factory.mktemp("mixture")
    spool = Spool.open(directory, QUOTA, ring)
    for number, size in enumerate(sizes, 1):
        spool.append([(number.to_bytes(16, "big"), b"x" * size)])
        if number in acked:
            spool.ack([(number, number)])
    account = spool.account()
    assert account.appended == len(sizes)
    assert file_bytes(directory) <= QUOTA
    spool.close()


_READER = """
import sys, time, lmdb
with lmdb.open(sys.argv[1], max_dbs=8, readonly=True) as env, env.begin() as txn:
    txn.stat()
    print("reading", flush=True)
    time.sleep(600)
"""


def test_dead_reader_is_let_go_when_the_map_is_full(open_spool: OpenSpool, directory: Path) -> None:
    """A reader that keeps a snapshot fills the map; once it is dead the very next append goes through."""
    spool = open_spool()
    spool.add([1])
    with subprocess.Popen([sys.executable, "-c", _READER, str(directory)], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"reading\n"
        with pytest.raises(SpoolFull):  # noqa: PT012
            for number in range(2, 200):
                spool.add([number], 1 << 20)
                spool.ack([(1, number)])
        reader.kill()
    spool.add([200], 1 << 20)
    spool.check()
