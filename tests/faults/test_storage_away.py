"""Storage away: stopped, hanging, killed before its acknowledgement, behind a network that fails."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from infertap import v1
from tests.faults.settling import metrics, settle
from tests.faults.tools import require, require_root, under_time
from tests.journeys.conftest import await_true
from tests.ports import free_port

if TYPE_CHECKING:
    from tests.faults.calls import Calls
    from tests.journeys.conftest import Sidecar, Storage
    from tests.journeys.link import Link

    StartSidecar = Callable[..., Sidecar]
    StartStorage = Callable[..., Storage]

pytestmark = pytest.mark.faults

# An hour's calls at one a second, as fast as they pass.
HOUR = 3_600
# The longest pause between two attempts, and some for the attempt.
REACH_SECONDS = 35.0


def memory_kib(pid: int) -> int:
    """Anonymous memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise AssertionError(pid)


def test_storage_away_for_an_hour_of_traffic_loses_nothing_below_the_quota(
    start_sidecar: "StartSidecar", start_storage: "StartStorage", calls: "Calls", link: "Link"
) -> None:
    """An hour's calls pass while storage is stopped, in flat memory; then it gets all of them, once."""
    storage = start_storage()
    link.storage = storage.address
    sidecar = start_sidecar(calls.model, storage=link.address)
    calls.make(sidecar, 200)
    sidecar.await_account(lambda each: each["spool"]["acked"] == 200)
    assert storage.stop() == 0
    link.cut()
    calls.make(sidecar, 400)
    sidecar.await_settled()
    before = memory_kib(sidecar.pid("recorder"))
    with calls.under_way(sidecar, clients=4):
        while len(calls.answered) < HOUR:
            calls.await_answers(100)
    sidecar.await_settled()
    assert memory_kib(sidecar.pid("recorder")) < before + 32_768
    storage = start_storage(storage.archive)
    link.storage = storage.address
    account = settle(sidecar, storage, calls)
    assert account["spool"]["acked"] >= HOUR
    assert account["spool"]["evicted_unacked"] == 0


def test_storage_that_hangs_is_given_up_after_its_deadline_and_asked_again(
    start_sidecar: "StartSidecar", start_storage: "StartStorage", calls: "Calls"
) -> None:
    """Stopped in mid-stream: what it owes ends the stream, calls notice nothing, and all arrives."""
    storage = start_storage()
    sidecar = start_sidecar(calls.model, storage=storage.address)
    calls.make(sidecar, 100)
    sidecar.await_account(lambda each: each["spool"]["acked"] == 100)
    os.kill(storage.process.pid, signal.SIGSTOP)
    with calls.under_way(sidecar, pause=0.01):
        name = "infertap_recorder_storage_reconnects_total"
        await_true(lambda: metrics(sidecar)[name] >= 1, "it gives up waiting", seconds=60)
        assert sidecar.is_ready()
        told = metrics(sidecar)
        assert told["infertap_recorder_storage_connected"] == 0
    assert max(wait for _, wait in calls.waits) < 5
    os.kill(storage.process.pid, signal.SIGCONT)
    settle(sidecar, storage, calls)


def test_lost_acknowledgement_and_a_storage_killed_before_it_leave_one_copy(
    start_sidecar: "StartSidecar", start_storage: "StartStorage", calls: "Calls", link: "Link"
) -> None:
    """Cut off between commit and acknowledgement, then killed there: each call is stored once."""
    storage = start_storage()
    link.storage = storage.address
    sidecar = start_sidecar(calls.model, storage=link.address)
    calls.make(sidecar, 10)
    sidecar.await_account(lambda each: each["spool"]["acked"] == 10)
    for kills in (False, True):
        made = len(calls.begun)
        link.swallows_answers = True
        calls.make(sidecar, 50)
        storage.await_records(made + 50)
        assert sidecar.account()["spool"]["acked"] <= made
        if kills:
            storage.kill()
        link.cut()
        calls.make(sidecar, 50)
        if kills:
            storage = start_storage(storage.archive)
        link.swallows_answers = False
        link.storage = storage.address
        wanted = len(calls.begun)
        sidecar.await_account(lambda each, wanted=wanted: each["spool"]["acked"] == wanted, 60)
    settle(sidecar, storage, calls)


def test_batch_that_comes_again_a_week_later_is_passed_over(
    start_sidecar: "StartSidecar", start_storage: "StartStorage", calls: "Calls"
) -> None:
    """A whole batch is sent again, to a storage under next week's clock: nothing is doubled."""
    next_week = under_time("+7d")
    storage = start_storage()
    sidecar = start_sidecar(calls.model, storage=storage.address)
    calls.make(sidecar, 120)
    sidecar.await_account(lambda each: each["spool"]["acked"] == 120)
    batch, spool_id = batch_of(sidecar)
    assert storage.stop() == 0
    storage = start_storage(storage.archive, under=next_week)
    for _ in range(2):
        assert asyncio.run(send_again(storage.address, spool_id, batch)) == [(1, 120)]
    assert len(storage.records()) == 120
    assert storage.stop() == 0
    storage = start_storage(storage.archive, **{"storage_listen": storage.address})
    settle(sidecar, storage, calls)


def batch_of(sidecar: "Sidecar") -> tuple[v1.Batch, bytes]:
    """What the spool holds, as its forwarder would send it: the spool keeps what is acknowledged."""
    import lmdb

    from sidecar.forwarder.messages import batch
    from sidecar.spool import envelope

    directory = Path(sidecar.environ["INFERTAP_SPOOL_DIR"])
    entries = []
    with lmdb.open(str(directory), max_dbs=8, readonly=True) as env, env.begin() as txn:
        spool_id = txn.get(b"books", db=env.open_db(b"meta", txn))[8:24]
        rows: dict[int, bytes] = {}
        for key, value in txn.cursor(env.open_db(b"rows", txn)):
            sequence = int.from_bytes(key[:8])
            rows[sequence] = rows.get(sequence, b"") + value
        entries = [envelope.unseal(sequence, row) for sequence, row in rows.items()]
    return batch(entries).batch, spool_id


async def send_again(address: str, spool_id: bytes, batch: v1.Batch) -> list[tuple[int, int]]:
    """Play a sidecar that believes nothing was acknowledged; returns what storage acknowledges."""
    async with grpc.aio.insecure_channel(address) as channel:
        call = v1.IngestServiceStub(channel).Ingest()
        await call.write(v1.IngestRequest(hello=v1.Hello(spool_id=spool_id)))
        welcome = (await call.read()).welcome
        assert [(each.first, each.last) for each in welcome.received] == [(1, 120)]
        await call.write(v1.IngestRequest(batch=batch))
        while not (answer := await call.read()).HasField("ack"):
            pass
        call.cancel()
        return [(each.first, each.last) for each in answer.ack.ranges]


# -- networks


class Network:
    """A namespace of its own for storage, and a cable between."""

    def __init__(self) -> None:
        require_root()
        ip = require("ip")
        number = os.getpid() % 10_000
        self.name, self.cable = f"faults{number}", f"flt{number}"
        self.ours, self.theirs = "10.211.57.1", "10.211.57.2"
        for command in (
            f"{ip} netns add {self.name}",
            f"{ip} link add {self.cable} type veth peer name eth0 netns {self.name}",
            f"{ip} addr add {self.ours}/30 dev {self.cable}",
            f"{ip} link set {self.cable} up",
            f"{ip} -n {self.name} addr add {self.theirs}/30 dev eth0",
            f"{ip} -n {self.name} link set lo up",
            f"{ip} -n {self.name} link set eth0 up",
        ):
            done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
            if done.returncode:
                self.close()
                pytest.skip(f"needs network namespaces: {done.stderr.strip()}")

    def run(self, command: str) -> None:
        subprocess.run(command.split(), check=True, capture_output=True)

    def close(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", self.cable], capture_output=True, check=False)


@pytest.fixture
def network() -> Iterator[Network]:
    made = Network()
    yield made
    made.close()


def test_partition_ends_and_storage_is_reached_again_within_half_a_minute(
    start_sidecar: "StartSidecar", start_storage: "StartStorage", calls: "Calls", network: Network
) -> None:
    """The cable is out at the start, and pulled again under load; put back, storage is reached after the
    longest pause at most, and nothing is lost or doubled.
    """
    name = "infertap_recorder_storage_reconnects_total"
    storage, sidecar = across(network, start_storage, start_sidecar, calls, is_cut=True)
    with calls.under_way(sidecar, pause=0.01):
        await_true(lambda: metrics(sidecar)[name] >= 6, "it has tried in vain")
        network.run(f"ip link set {network.cable} up")
        await_true(lambda: sidecar.account()["spool"]["acked"] > 100, "it is sent", seconds=REACH_SECONDS)
        network.run(f"ip link set {network.cable} down")
        await_true(lambda: sidecar.account()["spool"]["pending"] > 200, "it waits in the spool")
        assert sidecar.is_ready()
        network.run(f"ip link set {network.cable} up")
        acked = sidecar.account()["spool"]["acked"]
        await_true(
            lambda: sidecar.account()["spool"]["acked"] > acked + 100,
            "it is sent again",
            seconds=REACH_SECONDS,
        )
    settle(sidecar, storage, calls)


def test_slow_link_keeps_memory_flat_and_calls_fast(
    start_sidecar: "StartSidecar", start_storage: "StartStorage", calls: "Calls", network: Network
) -> None:
    """A megabit a second: the backlog is on disk, not in memory; calls take as long as before."""
    storage, sidecar = across(network, start_storage, start_sidecar, calls)
    calls.size = 10_000
    with calls.under_way(sidecar, clients=2, pause=0.005):
        await_true(lambda: sidecar.account()["spool"]["acked"] > 200, "it is sent")
        began = time.monotonic()
        fast = [wait for _, wait in calls.waits]
        network.run(f"tc qdisc add dev {network.cable} root tbf rate 1mbit burst 32kbit latency 400ms")
        calls.await_answers(200)
        before = memory_kib(sidecar.pid("recorder"))
        calls.await_answers(600)
        assert memory_kib(sidecar.pid("recorder")) < before + 16_384
        slow = [wait for ended, wait in calls.waits if ended > began]
        assert sorted(slow)[len(slow) // 2] < 5 * sorted(fast)[len(fast) // 2] + 0.02
        assert sidecar.account()["spool"]["pending"] > 0
    network.run(f"tc qdisc del dev {network.cable} root")
    settle(sidecar, storage, calls)


def across(
    network: Network,
    start_storage: "StartStorage",
    start_sidecar: "StartSidecar",
    calls: "Calls",
    *,
    is_cut: bool = False,
) -> "tuple[Storage, Sidecar]":
    """Storage behind the cable; with `is_cut` it is out when the sidecar starts."""
    port = free_port()
    storage = start_storage(
        under=("ip", "netns", "exec", network.name),
        storage_listen=f"{network.theirs}:{port}",
        insecure="on",
    )
    if is_cut:
        network.run(f"ip link set {network.cable} down")
    sidecar = start_sidecar(calls.model, storage=f"{network.theirs}:{port}")
    return storage, sidecar
