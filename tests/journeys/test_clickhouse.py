"""Journey: several storages over one ClickHouse, behind one address: nothing lost, nothing twice."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import httpx
import pytest

from infertap import Client, v1
from infertap.cli import main
from storage.archive.clickhouse_connection import Connection
from storage.archive.clickhouse_location import read_location
from tests.journeys.answering import answer
from tests.journeys.conftest import await_true
from tests.storage.archive.clickhouse_process import PASSWORD, USER, ClickhouseServer, running_server
from tests.storage.conftest import Making

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar, Storage
    from tests.journeys.link import Link

    StartModel = Callable[[Callable[[socket.socket], None]], Model]
    StartSidecar = Callable[..., Sidecar]

pytestmark = pytest.mark.clickhouse

SECONDS = 30
SPOOL = b"s" * 16


def call(sidecar: "Sidecar", numbers: range) -> None:
    host, port = sidecar.address
    with httpx.Client(timeout=SECONDS) as client:
        for number in numbers:
            asked = {"x-request-id": f"call-{number}"}
            client.get(f"http://{host}:{port}/x", headers=asked).raise_for_status()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClickhouseServer]:
    with running_server(tmp_path / "clickhouse") as running:
        yield running


@pytest.fixture
def start_one(
    server: ClickhouseServer, tmp_path: Path, start_storage: "Callable[..., Storage]"
) -> "Callable[..., Storage]":
    """Starts storages over the same tables, which the command has made; the password comes from a file."""
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    place = f"clickhouse://{USER}@127.0.0.1:{server.port}/records"
    command = [sys.executable, "-m", "infertap.cli", "storage", "migrate"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("INFERTAP_")}
    environ |= {"INFERTAP_ARCHIVE": place, "INFERTAP_ARCHIVE_PASSWORD_FILE": str(password)}
    for said in ("there were none", "they had version"):
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
    return lambda **settings: start_storage(place, archive_password_file=str(password), **settings)


def test_reconnects_to_another_storage(
    server: ClickhouseServer,
    start_one: "Callable[[], Storage]",
    start_model: "StartModel",
    start_sidecar: "StartSidecar",
    link: "Link",
) -> None:
    """Acknowledgements are lost, a storage is killed, the database too: the other one has each call once."""
    first, second = start_one(), start_one()
    link.storage = first.address
    sidecar = start_sidecar(start_model(answer).address, storage=link.address)
    call(sidecar, range(40))
    first.await_records(40)
    link.swallows_answers = True
    call(sidecar, range(40, 60))
    first.await_records(60)
    first.kill()
    link.cut()
    link.swallows_answers = False
    call(sidecar, range(60, 80))
    link.storage = second.address
    second.await_records(80)
    server.kill()
    call(sidecar, range(80, 100))
    server.start()
    records = second.await_records(100)
    assert sorted(record.request_id for record in records) == sorted(f"call-{each}" for each in range(100))
    assert sorted(record.sequence for record in records) == list(range(1, 101))
    account = sidecar.await_account(lambda each: each["spool"]["acked"] == 100)
    assert account["spool"]["pending"] == 0
    assert PASSWORD not in first.log_path.read_text() + second.log_path.read_text()
    with Client(second.address) as client:
        [row] = client.stats().rows
        assert row.records == 100
    assert (sidecar.stop(), second.stop()) == (0, 0)


@pytest.mark.parametrize("table", ["records", "leaves", "received"])
def test_killed_in_mid_insert(
    server: ClickhouseServer,
    start_one: "Callable[..., Storage]",
    start_model: "StartModel",
    start_sidecar: "StartSidecar",
    link: "Link",
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    table: str,
) -> None:
    """A storage that is killed between two inserts of a batch: the other one has each call once, and what
    both wrote verifies.
    """
    key = str(tmp_path / "key")
    assert main(["audit", "key", key, "--name", "storage.example/test"]) == 0
    public = capsys.readouterr().out.strip()
    first, second = start_one(), start_one()
    link.storage = first.address
    sidecar = start_sidecar(start_model(answer).address, storage=link.address)
    call(sidecar, range(10))
    first.await_records(10)
    held = server.control(hold=f"INTO records.{table} ", times=1)
    call(sidecar, range(10, 30))
    await_true(lambda: server.control() > held, "an insert is under way")
    first.kill()
    link.cut()
    link.storage = second.address
    records = second.await_records(30)
    assert sorted(record.sequence for record in records) == list(range(1, 31))
    sidecar.await_account(lambda each: each["spool"]["acked"] == 30)
    with Client(second.address) as client:
        [row] = client.stats().rows
        assert row.records == 30
    assert (sidecar.stop(), second.stop()) == (0, 0)
    third = start_one(audit_key_file=key)
    verify = ["verify", "--address", third.address, "--key", public, "--json"]
    # Until something is signed, there is nothing to hold it against.
    await_true(lambda: main(verify) != 2, "a checkpoint is made", 100)
    capsys.readouterr()
    assert main(verify) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == []
    assert third.stop() == 0


def test_forgotten_by_sidecars_of_another_storage(
    start_one: "Callable[..., Storage]", start_model: "StartModel", start_sidecar: "StartSidecar"
) -> None:
    """What one storage is asked to delete the connected sidecar of another one no longer retains."""
    near, far = start_one(), start_one()
    sidecar = start_sidecar(start_model(answer).address, storage=far.address)
    call(sidecar, range(3))
    far.await_records(3)
    sidecar.await_account(lambda each: each["spool"]["acked"] == 3)
    assert len(sidecar.records()) == 3
    assert main(["storage", "delete", "--address", near.address, "--request-id", "call-1", "--yes"]) == 0
    await_true(lambda: len(sidecar.records()) == 2, "the sidecar has forgotten it")
    assert sorted(record.request_id for record in sidecar.records()) == ["call-0", "call-2"]
    assert sidecar.stop() == 0


def test_started_before_its_database(
    server: ClickhouseServer,
    start_one: "Callable[..., Storage]",
    start_model: "StartModel",
    start_sidecar: "StartSidecar",
) -> None:
    """A storage whose database does not answer yet says so, waits for it, and then works."""
    server.kill()
    back = threading.Timer(3.0, server.start)
    back.start()
    storage = start_one()
    back.join()
    assert "waiting for the archive" in storage.log_path.read_text()
    sidecar = start_sidecar(start_model(answer).address, storage=storage.address)
    call(sidecar, range(3))
    assert len(storage.await_records(3)) == 3
    assert (sidecar.stop(), storage.stop()) == (0, 0)


def test_deadline_ends_the_query_in_the_engine(
    server: ClickhouseServer, start_one: "Callable[..., Storage]", tmp_path: Path
) -> None:
    """Neither a deadline nor a caller that goes away leaves work behind in ClickHouse."""
    storage = start_one()
    place = read_location(f"clickhouse://{USER}@127.0.0.1:{server.port}/records", str(tmp_path / "password"))
    sleeping = "SELECT count() FROM system.processes WHERE query LIKE '%sleepEach' || 'Row%'"
    asked = v1.GetStatsRequest()
    with (
        contextlib.closing(Connection(place, 1 << 28)) as connection,
        grpc.insecure_channel(storage.address) as channel,
    ):
        stub = v1.RecordServiceStub(channel)
        for is_cancelled in (False, True):
            server.control(slow="records.records FINAL", times=1)
            call = stub.GetStats.future(asked, timeout=SECONDS if is_cancelled else 2)
            await_true(lambda: connection.rows(sleeping) == [(1,)], "the query works")
            if is_cancelled:
                call.cancel()
            else:
                assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            await_true(lambda: connection.rows(sleeping) == [(0,)], "the query has ended")
    assert storage.stop() == 0


def chained(count: int) -> list[v1.Entry]:
    """So many records of one spool, each with the hash of the one before."""
    entries, previous = [], bytes(32)
    for sequence in range(1, count + 1):
        entry = Making().sent(sequence)
        sent = entry.record
        sent.previous_hash = previous
        sealed = previous + sequence.to_bytes(8, "big") + sent.salt + sent.record
        previous = sha256(sealed).digest()
        entries.append(entry)
    return entries


def test_duplicates_to_both_at_once(start_one: "Callable[[], Storage]") -> None:
    """The same batches sent to two storages at once: both acknowledge all, each record is there once."""
    storages = [start_one(), start_one()]
    entries = chained(500)
    batches = [v1.Batch(entries=entries[first : first + 50]) for first in range(0, 500, 50)]
    begin = threading.Barrier(2)
    acked: list[set[int]] = [set(), set()]

    def send(number: int) -> None:
        def requests() -> Iterator[v1.IngestRequest]:
            yield v1.IngestRequest(hello=v1.Hello(spool_id=SPOOL))
            begin.wait(SECONDS)
            for batch in batches:
                yield v1.IngestRequest(batch=batch)
            await_true(lambda: len(acked[number]) == 500, "all is acknowledged")

        with grpc.insecure_channel(storages[number].address) as channel:
            for response in v1.IngestServiceStub(channel).Ingest(requests(), timeout=SECONDS):
                for each in response.ack.ranges:
                    acked[number].update(range(each.first, each.last + 1))

    senders = [threading.Thread(target=send, args=(number,)) for number in range(2)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert acked == [set(range(1, 501))] * 2
    for storage in storages:
        assert sorted(record.sequence for record in storage.records()) == list(range(1, 501))


def test_tail_over_storages(
    start_one: "Callable[[], Storage]", start_model: "StartModel", start_sidecar: "StartSidecar"
) -> None:
    """Whoever listens at one storage hears of what another one stores, each call once."""
    near, far = start_one(), start_one()
    sidecar = start_sidecar(start_model(answer).address, storage=far.address)
    call(sidecar, range(1))
    near.await_records(1)
    heard: list[str] = []
    with Client(near.address) as client:
        tail = client.tail(backlog=1)
        heard.append(next(tail).request_id)
        call(sidecar, range(1, 31))
        while len(heard) < 31:
            heard.append(next(tail).request_id)
    assert sorted(heard) == sorted(f"call-{each}" for each in range(31))


def test_signed_and_verified(
    server: ClickhouseServer,
    start_one: "Callable[..., Storage]",
    start_model: "StartModel",
    start_sidecar: "StartSidecar",
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What several storages took is signed by one of them, and verified; what was deleted leaves a tombstone,
    and an edit in the database is named by its sequence.
    """

    def run(*arguments: str) -> tuple[int, str]:
        status = main(list(arguments))
        return status, capsys.readouterr().out

    key = str(tmp_path / "key")
    public = run("audit", "key", key, "--name", "storage.example/test")[1].strip()
    storages = [start_one(audit_key_file=key) for _ in range(2)]
    model = start_model(answer)
    for number, storage in enumerate(storages):
        sidecar = start_sidecar(model.address, storage=storage.address)
        call(sidecar, range(20 * number, 20 * number + 20))
        storage.await_records(20 * number + 20)
        assert sidecar.stop() == 0
    deleting = ["storage", "delete", "--address", storages[0].address, "--request-id", "call-7", "--yes"]
    assert main(deleting) == 0
    capsys.readouterr()
    assert [storage.stop() for storage in storages] == [0, 0]
    storage = start_one(audit_key_file=key)
    verify = ["verify", "--address", storage.address, "--key", public]
    status, said = run(*verify)
    assert status == 0, said
    assert "looked at: 40 records, 1 tombstone, 0 gaps, 1 deletion, 2 spools" in said
    place = f"clickhouse://{USER}@127.0.0.1:{server.port}/records"
    with contextlib.closing(
        Connection(read_location(place, str(tmp_path / "password")), 1 << 28)
    ) as connection:
        connection.command(
            "ALTER TABLE records.records UPDATE record = replaceAll(record, 'GET', 'PUT') "
            "WHERE request_id = 'call-31'",
            settings={"mutations_sync": 2},
        )
    status, said = run(*verify, "--json")
    assert status == 1
    (finding,) = json.loads(said)["findings"]
    assert (finding["wrong"], finding["first"], finding["last"]) == ("edited", 12, 12)
    assert storage.stop() == 0
