"""Spools: what heartbeats said is durable, and who vanished is seen."""

from typing import TYPE_CHECKING

import pytest

from infertap import v1
from storage.archive import ArchiveError
from storage.audit import ForeignSpoolError, Spools
from storage.audit import findings as findings_room
from storage.audit import spools as spools_room
from tests.storage.audit.conftest import NOW, OTHER, SECOND, SPOOL

if TYPE_CHECKING:
    from tests.storage.audit.conftest import Vault

MINUTE = 60 * SECOND


def hello(spool_id: bytes = SPOOL, pod: str = "pod-1") -> v1.Hello:
    return v1.Hello(spool_id=spool_id, pod=pod, namespace="models", container="sidecar")


def state(spools: Spools, now_ns: int, spool_id: bytes = SPOOL) -> str:
    (spool,) = [each for each in spools.listed(None, now_ns) if each.spool_id == spool_id]
    return v1.Spool.State.Name(spool.state)


def test_live_left_and_vanished(vault: "Vault") -> None:
    """While connected it lives; gone with a word it has left; gone without, it vanished."""
    spools = vault.auditing.spools
    spools.connected(hello(), "", NOW)
    spools.heard(SPOOL, v1.Heartbeat(next_sequence=8, pending=7), NOW)
    assert state(spools, NOW + 10 * MINUTE) == "LIVE"
    spools.disconnected(SPOOL, NOW)
    assert state(spools, NOW + SECOND) == "LIVE"
    assert state(spools, NOW + 2 * MINUTE) == "VANISHED"
    (spool,) = spools.listed(None, NOW + 2 * MINUTE)
    assert (spool.pending, spool.received, spool.missing) == (7, 0, 0)
    spools.connected(hello(), "", NOW + 3 * MINUTE)
    vault.feed(1, 7)
    spools.heard(SPOOL, v1.Heartbeat(next_sequence=8, is_leaving=True), NOW + 3 * MINUTE)
    spools.disconnected(SPOOL, NOW + 3 * MINUTE)
    assert state(spools, NOW + 3 * MINUTE) == "LEFT"


def test_leaving_with_records_unsent_is_vanishing(vault: "Vault") -> None:
    """A pod that ended as it should, while storage was too slow, took its records with it."""
    spools = vault.auditing.spools
    spools.connected(hello(), "", NOW)
    spools.heard(SPOOL, v1.Heartbeat(next_sequence=4, pending=3, is_leaving=True), NOW)
    spools.disconnected(SPOOL, NOW)
    assert state(spools, NOW + 2 * MINUTE) == "VANISHED"


def test_a_quarantined_spool(vault: "Vault") -> None:
    """The sidecar goes on with another spool, and says that it set one aside: the old one is that."""
    spools = vault.auditing.spools
    spools.connected(hello(), "", NOW)
    spools.heard(SPOOL, v1.Heartbeat(next_sequence=4, pending=3), NOW)
    spools.disconnected(SPOOL, NOW)
    spools.connected(hello(OTHER), "", NOW + SECOND)
    spools.heard(OTHER, v1.Heartbeat(next_sequence=1, quarantined=1), NOW + SECOND)
    assert state(spools, NOW + 2 * MINUTE) == "QUARANTINED"
    assert state(spools, NOW + 2 * MINUTE, OTHER) == "LIVE"
    third = b"u" * 16
    spools.disconnected(OTHER, NOW + 2 * SECOND)
    spools.connected(hello(third), "", NOW + 3 * SECOND)
    spools.heard(third, v1.Heartbeat(next_sequence=1, quarantined=1), NOW + 3 * SECOND)
    assert [state(spools, NOW + 2 * MINUTE, each) for each in (SPOOL, OTHER)] == ["QUARANTINED"] * 2
    spools.disconnected(third, NOW + 4 * SECOND)
    assert state(spools, NOW + 2 * MINUTE, third) == "VANISHED"


@pytest.mark.parametrize(("pod", "tenant"), [("", ""), ("pod-1", "globex")])
def test_a_spool_that_vanished_while_anothers_was_quarantined(vault: "Vault", pod: str, tenant: str) -> None:
    """Pods without a name are not all the same one, and another tenant's pod of that name is another pod."""
    spools = vault.auditing.spools
    for spool_id, of, beat in (
        (SPOOL, "acme" if tenant else "", v1.Heartbeat(next_sequence=4, pending=3)),
        (OTHER, tenant, v1.Heartbeat(next_sequence=1, quarantined=1)),
    ):
        greeting = hello(spool_id)
        greeting.pod = pod
        spools.connected(greeting, of, NOW)
        spools.heard(spool_id, beat, NOW)
    spools.disconnected(SPOOL, NOW)
    assert state(spools, NOW + 2 * MINUTE) == "VANISHED"


def test_what_was_said_survives(vault: "Vault") -> None:
    """After a restart of storage, and for a second process, it is as it was flushed."""
    spools = vault.auditing.spools
    spools.connected(hello(), "acme", NOW)
    beat = v1.Heartbeat(next_sequence=8, pending=7, last_hash=b"h" * 32, account={"seen": 9})
    spools.heard(SPOOL, beat, NOW)
    spools.flush()
    vault.restart()
    (spool,) = vault.auditing.spools.listed(None, NOW + 2 * MINUTE)
    assert (spool.pod, spool.tenant, spool.pending, dict(spool.account)) == ("pod-1", "acme", 7, {"seen": 9})
    assert vault.auditing.spools.listed("other", NOW) == []


def test_a_flush_that_fails_is_tried_again(vault: "Vault", monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that was heard is forgotten with a disk that was full for a while."""
    spools = vault.auditing.spools
    spools.connected(hello(), "", NOW)

    def fail(*_: object) -> None:
        raise ArchiveError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(vault.archive.audit, "put", fail)
        with pytest.raises(ArchiveError):
            spools.flush()
    spools.flush()
    vault.restart()
    assert len(vault.auditing.spools.listed(None, NOW)) == 1


def test_holes_that_last_are_found(vault: "Vault") -> None:
    """What never came, and was not declared lost, is a finding after a minute, until it comes."""
    spools = vault.auditing.spools
    spools.connected(hello(), "", NOW)
    vault.feed(1, 3)
    missing = [vault.entry(4), vault.entry(5)]
    vault.feed(6, 8)
    spools.heard(SPOOL, v1.Heartbeat(next_sequence=9), NOW)
    assert spools.find_holes(NOW) == []
    (spool,) = spools.listed(None, NOW)
    assert (spool.received, spool.missing) == (6, 2)
    (finding,) = spools.find_holes(NOW + MINUTE)
    assert (finding.kind, finding.first, finding.last) == (v1.Finding.GAP, 4, 5)
    vault.take(missing)
    assert spools.find_holes(NOW + 2 * MINUTE) == []
    assert spools.listed(None, NOW)[0].missing == 0


def test_holes_are_looked_for_after_a_restart(vault: "Vault") -> None:
    """A spool that never comes back is looked at all the same."""
    vault.auditing.spools.connected(hello(), "", NOW)
    vault.feed(1, 3)
    vault.entry(4)
    vault.feed(5, 5)
    vault.restart()
    spools = vault.auditing.spools
    assert spools.find_holes(NOW) == []
    assert [each.first for each in spools.find_holes(NOW + MINUTE)] == [4]


def test_findings_are_kept_once(vault: "Vault") -> None:
    """The same thing is told once, also after a restart; pages go back in time."""
    finding = v1.Finding(kind=v1.Finding.GAP, spool_id=SPOOL, first=4, last=5)
    for number in range(3):
        vault.auditing.findings.keep([v1.Finding.FromString(finding.SerializeToString())], NOW + number)
    vault.restart()
    findings = vault.auditing.findings
    findings.keep([v1.Finding.FromString(finding.SerializeToString())], NOW + 9)
    more = [v1.Finding(kind=v1.Finding.FORK, spool_id=OTHER, first=each, tenant="t") for each in range(1, 6)]
    for each in more:
        findings.keep([each], NOW + 100 + each.first)
    assert len(vault.told) == 6
    page, below = findings.page(None, b"", b"", 4)
    rest, end = findings.page(None, b"", below, 4)
    assert [each.first for each in page + rest] == [5, 4, 3, 2, 1, 4]
    assert end == b""
    assert [each.first for each in findings.page("", b"", b"", 9)[0]] == [4]
    assert [each.first for each in findings.page(None, OTHER, b"", 2)[0]] == [5, 4]


def test_findings_of_one_tenant_leave_room_for_others(
    vault: "Vault", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever makes more of them than are kept keeps nobody else's from being kept."""
    monkeypatch.setattr(findings_room, "_MOST", 3)
    keep = vault.auditing.findings.keep
    keep([v1.Finding(spool_id=SPOOL, first=each, tenant="red") for each in range(1, 9)], NOW)
    keep([v1.Finding(spool_id=OTHER, first=each, tenant="blue") for each in range(1, 3)], NOW + 1)
    keep([v1.Finding(spool_id=SPOOL, first=9, tenant="red")], NOW + 2)
    assert [(each.tenant, each.first) for each in vault.told] == [
        *(("red", each) for each in (1, 2, 3)),
        *(("blue", each) for each in (1, 2)),
    ]


def test_what_is_long_gone_is_forgotten(vault: "Vault") -> None:
    """A pod that left as it should is shown for a week, one that vanished for a quarter of a year."""
    spools = vault.auditing.spools
    day = 24 * 60 * MINUTE
    for spool_id, beat in (
        (SPOOL, v1.Heartbeat(next_sequence=1, is_leaving=True)),
        (OTHER, v1.Heartbeat(next_sequence=4, pending=3)),
    ):
        spools.connected(hello(spool_id), "", NOW)
        spools.heard(spool_id, beat, NOW)
        spools.disconnected(spool_id, NOW)
    spools.flush()
    for days, left in ((6, 2), (8, 1), (89, 1), (91, 0)):
        spools.look(NOW + days * day)
        spools.flush()
        assert len(spools.listed(None, NOW + days * day)) == left, days
    vault.restart()
    assert vault.auditing.spools.listed(None, NOW) == []


def test_long_names_are_cut(vault: "Vault") -> None:
    """What a sidecar calls itself is kept for good: it may not be a megabyte."""
    vault.auditing.spools.connected(hello(pod="p" * 1_000_000), "", NOW)
    (spool,) = vault.auditing.spools.listed(None, NOW)
    assert len(spool.pod) == 253


def test_what_came_since_the_heartbeat_is_not_unsent(vault: "Vault") -> None:
    """Heartbeats come every ten seconds, records at once: only what never came counts as lost."""
    spools = vault.auditing.spools
    spools.connected(hello(), "", NOW)
    spools.heard(SPOOL, v1.Heartbeat(next_sequence=11, pending=8), NOW)
    vault.feed(1, 6)
    spools.disconnected(SPOOL, NOW)
    (spool,) = spools.listed(None, NOW + 2 * MINUTE)
    assert (spool.received, spool.pending, spool.missing) == (6, 4, 0)
    vault.feed(7, 15)
    (spool,) = spools.listed(None, NOW + 2 * MINUTE)
    assert (spool.received, spool.pending, spool.missing) == (15, 0, 0)


def test_a_spool_belongs_to_who_came_first(vault: "Vault") -> None:
    """Another tenant can't send as that spool, also where another storage process heard of it; a spool of no
    tenant is the first one's that has one.
    """
    spools = vault.auditing.spools
    spools.connected(hello(), "", NOW)
    spools.connected(hello(), "red", NOW)
    with pytest.raises(ForeignSpoolError):
        spools.connected(hello(), "blue", NOW)
    other = Spools(vault.archive.audit, vault.archive.received, is_shared=True)
    first, last = bytes(16), b"\xff" * 16
    for spool_id in (first, last):
        spools.connected(hello(spool_id), "red", NOW)
    spools.flush()
    for spool_id in (SPOOL, first, last):
        other.recall(spool_id)
        with pytest.raises(ForeignSpoolError):
            other.connected(hello(spool_id), "blue", NOW)
    other.recall(OTHER)
    other.connected(hello(OTHER), "blue", NOW)


def test_spools_of_one_tenant_are_bounded(vault: "Vault", monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many the longest gone are forgotten, those that went as they should before others; whoever is
    connected stays, and so do other tenants'.
    """
    monkeypatch.setattr(spools_room, "MOST_OF_TENANT", 2)
    spools = vault.auditing.spools
    for number in range(1, 6):
        spool_id = bytes([number]) * 16
        spools.connected(hello(spool_id), "red", NOW + number)
        is_leaving = number in (3, 5)
        spools.heard(spool_id, v1.Heartbeat(next_sequence=1, is_leaving=is_leaving), NOW + number)
        if number != 1:
            spools.disconnected(spool_id, NOW + number)
    spools.connected(hello(OTHER), "blue", NOW)
    spools.disconnected(OTHER, NOW)
    later = NOW + 10 * MINUTE
    spools.look(later)
    spools.flush()
    left = {each.spool_id[0] for each in spools.listed("red", later)}
    assert left == {1, 2, 4}
    assert len(spools.listed("blue", later)) == 1


def test_findings_of_holes_are_few_at_a_time(vault: "Vault", monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever leaves very many holes has some of them told."""
    monkeypatch.setattr(spools_room, "_MOST_HOLES", 3)
    for sequence in range(2, 40, 2):
        vault.take([vault.gap(sequence, sequence)])
    spools = vault.auditing.spools
    spools.connected(hello(), "", NOW)
    assert spools.find_holes(NOW) == []
    assert len(spools.find_holes(NOW + MINUTE)) == 3
