"""Several storage processes over one archive: one of them signs what all of them wrote."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from storage.audit import Auditing, Signing, Sources, sharing
from storage.audit.sharing import LEASE_SECONDS, Lease, ReadHeads
from tests.storage.audit.conftest import KEY, NOW, SECOND

if TYPE_CHECKING:
    from tests.storage.audit.conftest import Vault


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here delays a write, so that nothing need be waited for."""
    monkeypatch.setattr(sharing, "SETTLE_SECONDS", 0.0)


def auditing_of(vault: "Vault") -> Auditing:
    """One more process's audit over the same archive."""
    sources = Sources(vault.archive.audit, dict, vault.archive.received, is_shared=True)
    return Auditing(sources, Signing([KEY]), lambda *_, **__: None, vault.told.append)


def test_a_lease_is_one_process_s(vault: "Vault") -> None:
    """Who holds it keeps it; another one has it once it has run out."""
    one, other = Lease(vault.archive.audit), Lease(vault.archive.audit)
    assert one.hold(NOW)
    assert not other.hold(NOW + SECOND)
    assert one.hold(NOW + 30 * SECOND)
    assert not other.hold(NOW + LEASE_SECONDS * SECOND)
    assert other.hold(NOW + (LEASE_SECONDS + 31) * SECOND)
    assert other.is_held
    assert not one.hold(NOW + (LEASE_SECONDS + 32) * SECOND)
    assert not one.is_held


def test_of_two_that_write_at_once_one_has_it(vault: "Vault") -> None:
    """What stands there after a while decides."""
    other = Lease(vault.archive.audit)
    one = Lease(vault.archive.audit, wait=lambda _: vault.archive.audit.put("lease", theirs))
    value = other._owner + (NOW + LEASE_SECONDS * SECOND).to_bytes(8, "big")
    theirs = {b"signer": value}
    assert not one.hold(NOW)
    assert other.hold(NOW)


def test_heads_are_read_from_leaves(vault: "Vault") -> None:
    """Whoever wrote them; as they grow."""
    heads = ReadHeads(vault.archive.audit)
    assert heads() == {}
    for first in (1, 6):
        vault.feed(first, first + 4)
        vault.feed(first, first + 4, b"t" * 16, tenant="acme")
        assert heads() == {log: head for log, head in vault.archive.heads().items() if head[0]}
    assert {log.tenant for log in heads()} == {"", "acme"}


def test_one_signs_for_all(vault: "Vault") -> None:
    """The one without the lease signs nothing; when it takes over, it goes on where the other stopped."""
    vault.feed(1, 5)
    one, other = auditing_of(vault), auditing_of(vault)
    first = one.sign()
    assert first is not None
    assert other.sign() is None
    vault.feed(6, 9)
    vault.archive.audit.put("lease", {b"signer": bytes(16)})
    second = other.sign()
    assert second is not None
    assert second.size == 2
    vault.auditing = other
    assert vault.verify([first.note, second.note]).is_good
    one.checkpointing.refresh()
    assert one.checkpointing.statements(0, 10) == other.checkpointing.statements(0, 10)


def test_what_another_one_drops_is_stated(vault: "Vault") -> None:
    """Retention runs in any process; the one that signs says what it dropped."""
    vault.feed(1, 5)
    signer, other = auditing_of(vault), auditing_of(vault)
    assert signer.sign() is not None
    (log,) = [each for each in vault.archive.audit.logs() if each.size]
    other.drop([log])
    made = signer.sign()
    assert made is not None
    assert made.size == 2
    stated = signer.checkpointing.stated(log.log)
    assert stated is not None
    assert (stated.statement.kind, stated.statement.size) == ("dropped", 5)
    again = signer.sign()
    assert again is not None
    assert again.size == 2


def test_one_that_starts_looks_at_what_was_signed(vault: "Vault", tmp_path: Path) -> None:
    """Also where others write too: an archive that does not go on from a checkpoint is signed by nobody; what
    another process signs at that moment is no reason.
    """
    vault.feed(1, 5)
    sources = Sources(vault.archive.audit, dict, vault.archive.received, is_shared=True)
    one, other = (
        Auditing(sources, Signing([KEY], tmp_path), lambda *_, **__: None, vault.told.append)
        for _ in range(2)
    )
    assert one.sign() is not None
    assert other.checkpointing.check_signed() == []
    vault.archive.audit.put("statement", {bytes(8): b"{}"})
    late = Auditing(sources, Signing([KEY], tmp_path), lambda *_, **__: None, vault.told.append)
    (finding,) = late.checkpointing.check_signed()
    assert finding.kind == finding.TRUNCATED
    assert not late.checkpointing.can_sign


def test_a_claim_that_took_long_waits(vault: "Vault", monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds the lease free, and writes its own much later, lets the one that took it look first."""
    monkeypatch.setattr(sharing, "_SLOW_SECONDS", 0.0)
    slow = Lease(vault.archive.audit)
    assert not slow.hold(NOW)
    assert not slow.hold(NOW + (LEASE_SECONDS // 2 - 1) * SECOND)
    monkeypatch.setattr(sharing, "_SLOW_SECONDS", 60.0)
    assert slow.hold(NOW + LEASE_SECONDS // 2 * SECOND)


def test_logs_that_have_ended_are_not_read_again(vault: "Vault", monkeypatch: pytest.MonkeyPatch) -> None:
    """A signer that starts anew states what has grown, without the leaves of what was stated to its end."""
    vault.feed(1, 5)
    assert auditing_of(vault).sign() is not None
    again = auditing_of(vault)
    again._lease._owner = b"successor"[:8]  # type: ignore[union-attr]
    with monkeypatch.context() as guarded:
        guarded.setattr(vault.archive.audit, "leaves", None)
        before = again.checkpointing.latest()
        again.checkpointing.refresh()
        assert again.checkpointing.make(NOW) == before
    vault.feed(6, 9)
    after = again.checkpointing.make(NOW)
    assert after is not None
    assert before is not None
    assert after.size > before.size


def test_a_log_that_another_process_is_dropping(vault: "Vault") -> None:
    """Who finds fewer leaves than there were announces nothing: the other one has announced all of it."""
    vault.feed(1, 5)
    auditing = auditing_of(vault)
    [log] = vault.archive.audit.logs()
    auditing.drop([dataclasses.replace(log, size=log.size + 1)])
    assert vault.archive.audit.notes("dropped", b"", 10) == []
    auditing.drop([log])
    assert len(vault.archive.audit.notes("dropped", b"", 10)) == 1
