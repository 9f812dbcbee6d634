"""Disguises: what goes, or comes, as if it were something else."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from infertap import v1
from infertap.identity import Identity, Role, set_caller
from infertap.verification import DROPPED, Wrong, state
from storage.archive import ArchiveError, ModelRule, Retention
from storage.audit import Audit
from tests.storage.audit.conftest import OTHER, SECOND, SPOOL

if TYPE_CHECKING:
    from tests.storage.audit.conftest import Vault

FIRST = "73737373-0000-7000-8000-000000000001"


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


async def test_a_call_id_of_two_tenants(vault: "Vault") -> None:
    """A tenant that sends records under another's call id keeps nobody from the proof of its own."""
    vault.feed(1, 2, tenant="acme")
    vault.take([replace(vault.entry(1, OTHER), tenant="globex", parsed=vault.archive.get(FIRST))])
    vault.sign()
    audit: Any = Audit(vault.auditing, ArchiveError)
    for tenant, spool_id in (("acme", SPOOL), ("globex", OTHER)):
        set_caller(Identity("reader", tenant, frozenset({Role.READ})))
        proof = await audit.GetInclusionProof(v1.GetInclusionProofRequest(call_id=FIRST), None)
        assert (proof.log.tenant, proof.entry.spool_id) == (tenant, spool_id)


async def test_records_without_leaves_are_their_tenants_too(vault: "Vault") -> None:
    """Those from before the audit, which stand in no log, are exported to readers of their tenant only."""
    vault.feed(1, 2, tenant="acme")
    vault.feed(1, 1, OTHER, tenant="globex")
    vault.tamper("DELETE FROM leaves")
    audit: Any = Audit(vault.auditing, ArchiveError)
    set_caller(Identity("reader", "acme", frozenset({Role.READ})))
    exported = [each async for each in audit.ExportLog(v1.ExportLogRequest(), None)]
    assert [entry.spool_id for each in exported for entry in each.entries] == [SPOOL, SPOOL]
