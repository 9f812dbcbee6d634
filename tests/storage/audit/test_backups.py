"""Backups and audit: what is put back holds as what it was, and says what it lacks."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from infertap.verification import Wrong
from tests.storage.audit.conftest import SPOOL

if TYPE_CHECKING:
    from tests.storage.audit.conftest import Vault


def back_up(vault: "Vault", target: Path) -> None:
    """As the server does it, while records come in."""
    target.mkdir()
    with vault.archive.snapshot() as files:
        for file in files:
            shutil.copy(file.path, target / file.name)


def put_back(vault: "Vault", backup: Path) -> None:
    vault.close()
    shutil.rmtree(vault.directory)
    shutil.copytree(backup, vault.directory)
    vault.open()
    vault.restart()


def test_a_backup_that_lacks_nothing(vault: "Vault", tmp_path: Path) -> None:
    """It verifies with the checkpoints that were made before it, and goes on."""
    vault.feed(1, 6)
    vault.sign()
    back_up(vault, tmp_path / "backup")
    put_back(vault, tmp_path / "backup")
    assert vault.told == []
    assert vault.verify().is_good
    vault.feed(7, 9)
    vault.sign()
    report = vault.verify()
    assert report.is_good, report.findings
    assert report.seen["records"] == 9


def test_what_a_backup_lacks_comes_again(vault: "Vault", tmp_path: Path) -> None:
    """Spools send again what they still have: chains hold, though what was signed since then is missing."""
    vault.feed(1, 4)
    vault.sign()
    back_up(vault, tmp_path / "backup")
    lost = vault.feed(5, 8)
    signed_since = vault.sign()
    put_back(vault, tmp_path / "backup")
    assert vault.archive.received(SPOOL) == [(1, 4)]
    vault.take(lost)
    vault.notes.remove(signed_since)
    vault.sign()
    report = vault.verify()
    assert report.is_good, report.findings
    assert report.seen["records"] == 8
    assert vault.told == []
    assert vault.verify([signed_since]).wrong[Wrong.HEADS] == 1
