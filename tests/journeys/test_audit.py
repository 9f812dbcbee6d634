"""Journey: what storage took is signed, tampered with behind its back, and verified; pods go silent."""

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from infertap import v1
from infertap.audit import AuditClient
from infertap.cli import main
from infertap.connection import Connection

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar, Storage

from tests.journeys.conftest import await_true

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
REQUEST = b"POST /v1/%d HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def answer(connection: socket.socket) -> None:
    received = b""
    while piece := connection.recv(1 << 16):
        received += piece
        while b"{}" in received:
            received = received.partition(b"{}")[2]
            connection.sendall(ANSWER)


def ask(sidecar: "Sidecar", count: int) -> None:
    with sidecar.connect() as client:
        for number in range(count):
            client.sendall(REQUEST % number)
            received = b""
            while not received.endswith(b"{}"):
                received += client.recv(1 << 16)


def spools(storage: "Storage") -> list[tuple[str, int, int]]:
    """State, received and pending of each spool."""
    with AuditClient(Connection(storage.address)) as client:
        listed = client.spools().spools
    return [(v1.Spool.State.Name(each.state), each.received, each.pending) for each in listed]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(list(arguments))
    return status, capsys.readouterr().out


def test_signed_tampered_with_and_verified(
    start_sidecar: "Callable[..., Sidecar]",
    start_model: "Callable[..., Model]",
    start_storage: "Callable[..., Storage]",
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An edit in the database is named by its sequence, by anyone who has the key and a checkpoint: asked of
    storage, and of an export that was made of it.
    """
    key, kept = str(tmp_path / "key"), tmp_path / "kept"
    kept.mkdir()
    public = run(capsys, "audit", "key", key, "--name", "storage.example/test")[1].strip()
    settings = {"audit_key_file": key, "checkpoint_dir": str(kept)}
    storage = start_storage(**settings)
    sidecar = start_sidecar(start_model(answer).address, storage=storage.address)
    ask(sidecar, 30)
    storage.await_records(30)
    await_true(lambda: spools(storage) == [("LIVE", 30, 0)], "the spool is known")
    assert sidecar.stop() == 0
    await_true(lambda: spools(storage) == [("LEFT", 30, 0)], "the spool has left")
    assert storage.stop() == 0
    assert len(list(kept.iterdir())) == 1

    storage = start_storage(storage.archive, **settings)
    verify = ["verify", "--address", storage.address, "--key", public, "--checkpoint", str(kept)]
    status, said = run(capsys, *verify)
    assert status == 0, said
    assert "looked at: 30 records, 0 tombstones, 0 gaps, 0 deletions, 1 spool, 1 log" in said
    assert storage.stop() == 0

    (file,) = storage.archive.glob("records-*.duckdb")
    with duckdb.connect(str(file)) as connection:
        found = connection.execute("SELECT record FROM records WHERE sequence = 17").fetchone()
        assert found is not None
        edited = found[0].replace(b"POST", b"PUSH")
        connection.execute("UPDATE records SET record = ? WHERE sequence = 17", [edited])
    storage = start_storage(storage.archive, **settings)
    verify = ["verify", "--address", storage.address, "--key", public, "--checkpoint", str(kept), "--json"]
    status, said = run(capsys, *verify)
    assert status == 1
    (finding,) = json.loads(said)["findings"]
    assert (finding["wrong"], finding["first"], finding["last"]) == ("edited", 17, 17)
    export = str(tmp_path / "export")
    assert run(capsys, "audit", "export", export, "--address", storage.address)[0] == 0
    assert storage.stop() == 0
    status, said = run(capsys, "verify", export, "--key", public, "--checkpoint", str(kept))
    assert status == 1
    assert "sequence 17: edited" in said


def test_a_pod_that_vanished(
    start_sidecar: "Callable[..., Sidecar]",
    start_model: "Callable[..., Model]",
    start_storage: "Callable[..., Storage]",
) -> None:
    """A sidecar that is killed stays in the list as it was last heard of, over a restart of storage too."""
    storage = start_storage()
    sidecar = start_sidecar(start_model(answer).address, storage=storage.address)
    ask(sidecar, 5)
    storage.await_records(5)
    await_true(lambda: spools(storage) == [("LIVE", 5, 0)], "the spool is known")
    recorder = sidecar.pid("recorder")
    os.kill(recorder, signal.SIGSTOP)  # or it would take its leave once the parent is gone
    sidecar.process.kill()
    sidecar.process.wait(30)
    os.kill(recorder, signal.SIGKILL)
    assert storage.stop() == 0
    storage = start_storage(storage.archive)
    ((state, received, _),) = spools(storage)
    assert (state, received) == ("LIVE", 5)  # for a minute it may come back
    assert "spools" in storage.get("/spools")[1]


def test_a_file_that_can_not_be_read(
    start_sidecar: "Callable[..., Sidecar]",
    start_model: "Callable[..., Model]",
    start_storage: "Callable[..., Storage]",
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What was in it is missing, and is said to be so because storage set the file aside: among the findings,
    by a verification of storage, and by one of an export.
    """
    key = str(tmp_path / "key")
    public = run(capsys, "audit", "key", key, "--name", "storage.example/test")[1].strip()
    storage = start_storage(audit_key_file=key)
    sidecar = start_sidecar(start_model(answer).address, storage=storage.address)
    ask(sidecar, 5)
    storage.await_records(5)
    assert sidecar.stop() == 0
    assert storage.stop() == 0
    (file,) = storage.archive.glob("records-*.duckdb")
    file.write_bytes(b"no database " * 1000)

    storage = start_storage(storage.archive, audit_key_file=key)

    def findings() -> str:
        return run(capsys, "audit", "findings", "--address", storage.address)[1]

    said = await_true(lambda: findings() if "damaged" in findings() else None, "it is among the findings")
    assert f"damaged: {file.name} could not be read and was set aside as damaged-" in said
    assert 'infertap_storage_findings_total{kind="damaged"} 1.0' in storage.get("/metrics")[1]
    status, said = run(capsys, "verify", "--address", storage.address, "--key", public)
    assert status == 1
    assert "WRONG  log missing" in said
    assert f"storage says: {file.name} could not be read and was set aside as damaged-" in said
    export = str(tmp_path / "export")
    assert run(capsys, "audit", "export", export, "--address", storage.address)[0] == 0
    status, said = run(capsys, "verify", export, "--key", public)
    assert (status, f"storage says: {file.name} could not be read" in said) == (1, True)
