"""Disguises: what goes, or comes, as if it were something else."""

from typing import TYPE_CHECKING

from infertap import v1
from infertap.verification import DROPPED, Wrong, state
from storage.archive import ModelRule, Retention
from tests.storage.audit.conftest import SECOND, SPOOL

if TYPE_CHECKING:
    from tests.storage.audit.conftest import Vault


def test_a_record_that_was_given_to_another_tenant(vault: "Vault") -> None:
    """Its row says that it is another's, who could read it now: the one whose log tells of it has lost it."""
    vault.feed(1, 2, tenant="acme")
    vault.sign()
    vault.feed(3, 8, tenant="acme")
    vault.sign()
    vault.tamper("UPDATE records SET tenant = 'globex' WHERE spool_id = $spool AND sequence = 7", spool=SPOOL)
    assert [(each.wrong, each.first, each.last) for each in vault.verify().findings] == [
        (Wrong.DELETED, 7, 7),
        (Wrong.INSERTED, 7, 7),
    ]


def test_a_file_that_was_removed_as_if_retention_had_done_it(vault: "Vault") -> None:
    """Storage signs what retention drops before it goes: a statement that nobody signed is told of at the
    next start. What retention drops itself is no finding.
    """
    vault.feed(1, 12)
    vault.sign()
    vault.now_ns += 86_400 * SECOND
    vault.feed(13, 14)
    vault.archive.expire(Retention((ModelRule("*", 3600 * SECOND),)), vault.now_ns)
    vault.restart()
    assert vault.told == []
    vault.now_ns += 86_400 * SECOND
    vault.feed(15, 16)
    vault.sign()
    (head,) = [each for each in vault.auditing.checkpointing._missing(set()) if each.log.day == "2026-01-02"]
    forged = state(DROPPED, head.log, (head.size, head.root), vault.now_ns, "retention")
    vault.auditing.archive.put("statement", {(100).to_bytes(8, "big"): forged.data})
    vault.close()
    (file,) = vault.directory.glob("records-2026-01-02-*.duckdb")
    file.unlink()
    vault.open()
    vault.restart()
    (told,) = [each for each in vault.told if each.kind == v1.Finding.TAMPERED]
    assert told.detail.endswith("is gone as if retention had dropped it, which nobody signed")
