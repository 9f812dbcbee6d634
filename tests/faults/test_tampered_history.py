"""Tampered history: rows edited, deleted or reordered behind the back of a storage that was killed before."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from infertap.cli import main
from tests.faults.settling import settle

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
