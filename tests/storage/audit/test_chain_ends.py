"""Whether a fork is seen in heartbeats alone."""

from typing import TYPE_CHECKING

import pytest

from infertap import v1
from storage.audit import chain_ends
from storage.audit.chain import Tail
from storage.audit.chain_ends import ChainEnds, SaidEnd
from tests.storage.audit.conftest import NOW, OTHER, SPOOL

if TYPE_CHECKING:
    from tests.storage.audit.conftest import Vault


class Asked:
    """Hashes as an archive knows them, and how often it was asked."""

    def __init__(self, hashes: dict[int, bytes]) -> None:
        self._hashes = hashes
        self.times = 0

    def hashes(self, spool_id: bytes, first: int, last: int) -> dict[int, bytes]:
        self.times += 1
        return {sequence: each for sequence, each in self._hashes.items() if first <= sequence <= last}


def end(sequence: int, letter: bytes) -> SaidEnd:
    return SaidEnd("red", sequence, letter * 32)


def test_the_last_entry_is_held_against_memory() -> None:
    """In the common case nothing is looked up: the same hash is fine, another one a fork."""
    archive = Asked({})
    ends = ChainEnds({SPOOL: Tail(7, b"a" * 32), OTHER: Tail(7, None)}.get, archive)
    assert ends.check({SPOOL: end(7, b"a"), OTHER: end(7, b"z")}) == []
    (found,) = ends.check({SPOOL: end(7, b"z")})
    assert (found.kind, found.spool_id, found.tenant) == (v1.Finding.FORK, SPOOL, "red")
    assert (found.first, found.last) == (7, 7)
    assert archive.times == 0


def test_what_has_not_come_yet_is_no_finding() -> None:
    """A sidecar is ahead of storage as long as records are on their way, or were never sent."""
    archive = Asked({})
    assert ChainEnds({SPOOL: Tail(7, b"a" * 32)}.get, archive).check({SPOOL: end(9, b"z")}) == []
    assert ChainEnds(lambda _: None, archive).check({SPOOL: end(9, b"z")}) == []


def test_an_earlier_entry_is_looked_up_once() -> None:
    """After a restart of storage, or when more has come meanwhile, the archive tells."""
    archive = Asked({5: b"a" * 32})
    ends = ChainEnds({OTHER: Tail(9, b"b" * 32)}.get, archive)
    for _ in range(3):
        assert ends.check({SPOOL: end(5, b"a"), OTHER: end(5, b"a")}) == []
    assert archive.times == 2
    assert [each.first for each in ends.check({SPOOL: end(5, b"z")})] == [5]


def test_look_ups_are_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many spools all are looked up, some in each call."""
    monkeypatch.setattr(chain_ends, "_MOST_LOOKED_UP", 3)
    archive = Asked({5: b"a" * 32})
    ends = ChainEnds(lambda _: None, archive)
    said = {bytes([number]) * 16: end(5, b"z") for number in range(7)}
    found = [len(ends.check(each)) for each in (said, {}, {}, {})]
    assert found == [3, 3, 1, 0]


def test_a_copied_volume_at_rest(vault: "Vault") -> None:
    """A sidecar whose spool has gone on otherwise than what storage has is seen though it sends nothing."""
    spools, sent = vault.auditing.spools, vault.feed(1, 5)
    for last_hash, forks in ((sent[-1].hash, 0), (b"z" * 32, 1)):
        spools.connected(v1.Hello(spool_id=SPOOL), "", NOW)
        spools.heard(SPOOL, v1.Heartbeat(next_sequence=6, last_hash=last_hash), NOW)
        spools.disconnected(SPOOL, NOW)
        vault.auditing.watch(NOW)
        assert len([each for each in vault.told if each.kind == v1.Finding.FORK]) == forks
    vault.restart()
    spools = vault.auditing.spools
    spools.connected(v1.Hello(spool_id=SPOOL), "", NOW)
    spools.heard(SPOOL, v1.Heartbeat(next_sequence=4, last_hash=b"y" * 32), NOW)
    vault.auditing.watch(NOW)
    assert [(each.kind, each.first) for each in vault.told[-1:]] == [(v1.Finding.FORK, 3)]
