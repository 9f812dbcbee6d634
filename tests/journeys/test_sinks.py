"""Journey: from clients' calls through sidecar and storage to the systems of a team, which fail."""

import asyncio
import contextlib
import io
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pyarrow as pa
import pytest
from pyarrow import parquet

from infertap import v1
from infertap.admin import AdminClient
from infertap.connection import Connection
from tests.journeys.answering import answer
from tests.journeys.conftest import await_true
from tests.journeys.object_store import running_store
from tests.ports import free_port
from tests.storage.sinks.receiver import Receiver

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar, Storage

    StartModel = Callable[[Callable[[socket.socket], None]], Model]
    StartSidecar = Callable[..., Sidecar]
    StartStorage = Callable[..., Storage]

SECONDS = 30


def call(sidecar: "Sidecar", numbers: range) -> None:
    host, port = sidecar.address
    with httpx.Client(timeout=SECONDS) as client:
        for number in numbers:
            client.get(f"http://{host}:{port}/x/{number}").raise_for_status()


@contextlib.contextmanager
def serving(receiver: Receiver, port: int) -> Iterator[Receiver]:
    """The receiver, in a loop of its own thread, for as long as it lasts."""
    ready, end = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with receiver.serving(port=port):
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: (loop.run_until_complete(serve()), loop.close()))
    thread.start()
    assert ready.wait(SECONDS)
    try:
        yield receiver
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(SECONDS)


def stands(storage: "Storage") -> v1.Sink:
    with AdminClient(Connection(storage.address)) as admin:
        (sink,) = admin.sinks()
    return sink


def test_a_receiver_that_fails_in_every_way(
    start_model: "StartModel", start_sidecar: "StartSidecar", start_storage: "StartStorage", tmp_path: Path
) -> None:
    """Away, ill, asking for patience, refusing one record, and storage killed meanwhile: in the end each
    record is there, but for the one that is set aside, and that one once it may come.
    """
    port = free_port()
    sinks = tmp_path / "sinks.toml"
    sinks.write_text(
        f'[[sink]]\nname = "events"\nkind = "cloudevents"\nfrom = "beginning"\n'
        f'url = "http://127.0.0.1:{port}/in"\nbatch_records = 10\n'
    )
    receiver = Receiver()
    script: list[tuple[int, dict[str, str]]] = [(500, {}), (429, {"retry-after": "0"}), (401, {})]
    poisoned = True

    def answered(body: bytes) -> tuple[int, dict[str, str]] | None:
        if script:
            return script.pop(0)
        return (400, {}) if poisoned and b'"path":"/x/17"' in body else None

    receiver.answer = answered
    storage = start_storage(sinks_file=str(sinks))
    sidecar = start_sidecar(start_model(answer).address, storage=storage.address)
    call(sidecar, range(40))
    storage.await_records(40)
    failed = await_true(lambda: (sink := stands(storage)).last_error and sink, "the sink fails")
    assert (failed.last_error, failed.waiting) == (f"127.0.0.1:{port}: Connection refused", 40)
    storage.kill()  # which knows of 40 records that nobody has taken
    storage = start_storage(storage.archive, sinks_file=str(sinks), storage_listen=storage.address)
    with serving(receiver, port):
        await_true(lambda: len(set(receiver.ids)) >= 5, "some arrive")
        storage.kill()  # perhaps between delivery and the place's being kept
        call(sidecar, range(40, 60))
        storage = start_storage(storage.archive, sinks_file=str(sinks), storage_listen=storage.address)
        made = await_true(
            lambda: (sink := stands(storage)).delivered + sink.refused >= 60 and sink, "all have gone on", 60
        )
        stored = {f"{each.spool_id.hex()}-{each.sequence}": each.path for each in storage.records()}
        arrived = Counter(receiver.ids)
        assert {stored[each] for each in stored.keys() - arrived.keys()} == {"/x/17"}
        assert (made.delivered, made.refused, made.lost, made.waiting) == (59, 1, 0, 0)
        assert max(arrived.values()) <= 3, "again only what was under way when storage was killed"
        # What it answered is told by its status alone.
        with AdminClient(Connection(storage.address)) as admin:
            (refused,) = admin.refused("events")
            assert (stored[refused.id], refused.reason) == ("/x/17", "http 400")
            poisoned = False
            assert admin.resend("events") == 1
        await_true(lambda: stands(storage).delivered == 60, "it is sent again")
    assert set(receiver.ids) == stored.keys()
    assert "quote payload" not in storage.log_path.read_text()
    assert 'infertap_storage_sink_refused_total{sink="events"}' in storage.get("/metrics")[1]
    account = sidecar.await_settled()
    assert account["balanced"]
    assert (sidecar.stop(), storage.stop()) == (0, 0)


def test_a_lake(
    start_model: "StartModel",
    start_sidecar: "StartSidecar",
    start_storage: "StartStorage",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An object store gets Parquet files in which each record is once, although storage was killed again and
    again while it wrote them.
    """
    with running_store(tmp_path / "moto.log") as store:
        for name, value in store.environ.items():
            monkeypatch.setenv(name, value)
        sinks = tmp_path / "sinks.toml"
        sinks.write_text(
            '[[sink]]\nname = "lake"\nkind = "objects"\nfrom = "beginning"\n'
            f'url = "{store.uri("records")}"\nlinger = "100ms"\nbatch_records = 7\n'
        )
        storage = start_storage(sinks_file=str(sinks))
        sidecar = start_sidecar(start_model(answer).address, storage=storage.address)
        for first in range(0, 40, 20):
            call(sidecar, range(first, first + 20))
            await_true(lambda there=first: len(store.names("records")) > there // 7, "files appear")
            storage.kill()
            storage = start_storage(storage.archive, sinks_file=str(sinks), storage_listen=storage.address)
        storage.await_records(40)
        await_true(lambda: (sink := stands(storage)).delivered == 40 and not sink.waiting, "all went on", 60)
        tables = [
            parquet.read_table(io.BytesIO(store.read("records", name)), columns=["sequence"])
            for name in store.names("records")
        ]
        assert sorted(pa.concat_tables(tables)["sequence"].to_pylist()) == list(range(1, 41))
        assert (sidecar.stop(), storage.stop()) == (0, 0)


def test_a_file_that_can_not_be_used(tmp_path: Path) -> None:
    """Storage doesn't start with it, and says in a line where the fault is."""
    (tmp_path / "sinks.toml").write_text(
        '[[sink]]\nname = "a"\nkind = "jsonl"\npath = "/x"\nrotat_bytes = 1\n'
    )
    settings = {"INFERTAP_SINKS_FILE": f"{tmp_path}/sinks.toml", "INFERTAP_ARCHIVE": f"{tmp_path}/archive"}
    ended = subprocess.run(
        [sys.executable, "-m", "storage"],
        env=os.environ | settings,
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    fault = "sink 1 (a): no setting 'rotat_bytes' here; see docs/sinks.md"
    assert ended.stderr.splitlines()[-1] == f"INFERTAP_SINKS_FILE: {tmp_path}/sinks.toml: {fault}"
