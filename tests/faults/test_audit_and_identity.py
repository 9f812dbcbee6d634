"""Audit and identity: history that was tampered with after crashes, and senders that are not who they say."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from infertap.cli import main
from tests.faults.settling import settle
from tests.journeys.conftest import await_true
from tests.journeys.credentials import EXPIRED, Secrets

if TYPE_CHECKING:
    from tests.faults.calls import Calls
    from tests.journeys.conftest import Sidecar, Storage

    StartSidecar = Callable[..., Sidecar]
    StartStorage = Callable[..., Storage]

pytestmark = pytest.mark.faults

# What a keeper of the files might do: statement, what the verifier calls it, first bad sequence.
TAMPERINGS = {
    "edited": ("UPDATE records SET record = record || 'x'::BLOB WHERE sequence = 17", 17),
    "deleted": ("DELETE FROM records WHERE sequence = 23", 23),
    "reordered": (
        "UPDATE records SET sequence = CASE sequence WHEN 11 THEN 12 ELSE 11 END WHERE sequence IN (11, 12)",
        11,
    ),
}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    status = main(list(arguments))
    return status, capsys.readouterr().out


@pytest.mark.parametrize("kind", TAMPERINGS)
def test_tampered_history_is_named_by_its_first_bad_sequence(
    start_sidecar: "StartSidecar",
    start_storage: "StartStorage",
    calls: "Calls",
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    """Storage is killed, and what it took holds; a row is changed behind its back, and that does not."""
    key, kept = str(tmp_path / "key"), tmp_path / "kept"
    kept.mkdir()
    public = run(capsys, "audit", "key", key, "--name", "storage.example/test")[1].strip()
    settings = {"audit_key_file": key, "checkpoint_dir": str(kept)}
    storage = start_storage(**settings)
    settings["storage_listen"] = storage.address
    sidecar = start_sidecar(calls.model, storage=storage.address)
    calls.make(sidecar, 20)
    storage.await_records(20)
    storage.kill()
    calls.make(sidecar, 20)
    storage = start_storage(storage.archive, **settings)
    settle(sidecar, storage, calls)

    verify = ["verify", "--address", storage.address, "--key", public, "--checkpoint", str(kept)]
    storage = start_storage(storage.archive, **settings)
    status, said = run(capsys, *verify)
    assert status == 0, said
    assert storage.stop() == 0
    statement, first_bad = TAMPERINGS[kind]
    for file in storage.archive.glob("records-*.duckdb"):
        with duckdb.connect(str(file)) as connection:
            connection.execute(statement)
    storage = start_storage(storage.archive, **settings)
    status, said = run(capsys, *verify)
    assert status == 1, said
    assert "first bad sequence of spool" in said
    assert said.rpartition("first bad sequence")[2].split(": ")[1].split()[0] == str(first_bad), said


def wrong_token(secrets: Secrets) -> None:
    secrets.token("sidecars", "wrong-token")


def token_without_the_role(secrets: Secrets) -> None:
    secrets.token("sidecars", "reader-token")


def expired_certificate(secrets: Secrets) -> None:
    secrets.issue("server", "localhost", "127.0.0.1", not_before=EXPIRED[0], not_after=EXPIRED[1])


def foreign_certificate(secrets: Secrets) -> None:
    secrets.issue("server", "localhost", "127.0.0.1", by=secrets.foreign)


def certificate_of_another_host(secrets: Secrets) -> None:
    secrets.issue("server", "elsewhere.example")


@pytest.mark.parametrize(
    "spoil",
    [
        wrong_token,
        token_without_the_role,
        expired_certificate,
        foreign_certificate,
        certificate_of_another_host,
    ],
)
def test_bad_identity_is_refused_and_the_spool_keeps_everything(
    start_sidecar: "StartSidecar",
    start_storage: "StartStorage",
    calls: "Calls",
    tmp_path: Path,
    spoil: Callable[[Secrets], None],
) -> None:
    """Nothing passes either way, nothing is dropped; mended, all arrives once."""
    (tmp_path / "secrets").mkdir()
    secrets = Secrets(tmp_path / "secrets")
    secrets.identify(
        ("sidecars", "team", "ingest", "sidecars-token"), ("reader", "team", "read", "reader-token")
    )
    secrets.token("sidecars")
    spoil(secrets)
    storage = start_storage(**secrets.of_storage())
    sidecar = start_sidecar(
        calls.model,
        storage=f"tls:{storage.address}",
        storage_tls_ca_file=secrets.ca,
        storage_token_file=str(secrets.directory / "sidecars.token"),
    )
    calls.make(sidecar, 60)
    await_true(lambda: sidecar.events("no way to storage"), "storage is not to be had")
    account = sidecar.await_settled()
    assert (account["spool"]["pending"], account["spool"]["acked"]) == (60, 0)
    assert sidecar.is_ready()
    assert len(sidecar.records()) == 60
    secrets.issue("server", "localhost", "127.0.0.1")
    secrets.token("sidecars")
    with secrets.client(storage.address, "reader") as reader:
        storage.records = lambda **conditions: list(reader.list(**conditions))  # type: ignore[method-assign]
        settle(sidecar, storage, calls)
