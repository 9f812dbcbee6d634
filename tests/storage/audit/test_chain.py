"""The chain check at ingest: what is wrong is found, and nothing else."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from infertap import v1
from storage.audit.chain import ChainCheck
from tests.storage.audit.conftest import OTHER, SPOOL

if TYPE_CHECKING:
    from tests.storage.audit.conftest import Vault

F = v1.Finding


class Known:
    """What the archive has, and how often it was asked."""

    def __init__(self) -> None:
        self.entries: dict[tuple[bytes, int], bytes] = {}
        self.asked = 0

    def keep(self, entries: Sequence[Any]) -> None:
        for each in entries:
            self.entries[(each.spool_id, each.last)] = getattr(each, "hash", None) or each.last_hash

    def hashes(self, spool_id: bytes, first: int, last: int) -> dict[int, bytes]:
        self.asked += 1
        return {
            sequence: hashed
            for (spool, sequence), hashed in self.entries.items()
            if spool == spool_id and first <= sequence <= last
        }


def kinds(found: list[v1.Finding]) -> list[tuple[int, int]]:
    return [(each.kind, each.first) for each in found]


def made(vault: "Vault", count: int, spool_id: bytes = SPOOL) -> list[Any]:
    first = vault.__dict__.setdefault("made", {}).get(spool_id, 0) + 1
    vault.__dict__["made"][spool_id] = first + count - 1
    return [vault.entry(sequence, spool_id) for sequence in range(first, first + count)]


def test_a_true_chain_is_looked_up_once(vault: "Vault") -> None:
    """Batches of several spools, mixed: the archive is asked at the first of each spool only."""
    known = Known()
    check = ChainCheck(known)
    for _ in range(3):
        batch = made(vault, 5) + made(vault, 5, OTHER)
        assert check.check(batch) == []
        known.keep(batch)
    assert known.asked == 2


def test_a_gap_does_not_end_a_chain(vault: "Vault") -> None:
    """The entry after a gap is held against the gap's last hash; one without a hash tells nothing."""
    check = ChainCheck(Known())
    batch = [*made(vault, 2), vault.gap(3, 5)]
    assert check.check([*batch, vault.entry(6)]) == []
    vault.last[SPOOL] = b"x" * 32
    assert kinds(check.check([vault.entry(7)])) == [(F.BROKEN_CHAIN, 7)]


def test_an_entry_that_follows_another_one(vault: "Vault") -> None:
    """By its chain it belongs elsewhere: what it says it follows is named."""
    known = Known()
    check = ChainCheck(known)
    batch = made(vault, 4)
    check.check(batch)
    known.keep(batch)
    vault.last[SPOOL] = batch[1].hash
    (finding,) = check.check([vault.entry(5)])
    assert (finding.kind, finding.first, finding.spool_id) == (F.REORDER, 5, SPOOL)
    assert finding.detail == "by its chain it follows 2"


def test_what_comes_again_is_no_fork(vault: "Vault") -> None:
    """After a lost acknowledgement, or a restart of storage, the same entries come once more."""
    known = Known()
    batch = made(vault, 6)
    check = ChainCheck(known)
    check.check(batch)
    known.keep(batch)
    assert check.check(batch) == []
    assert ChainCheck(known).check(batch[2:]) == []
    assert check.check(batch[3:4]) == []


def test_two_entries_with_one_sequence(vault: "Vault") -> None:
    """A spool that was copied goes on in two ways: the other one is seen, and what follows it."""
    known = Known()
    batch = made(vault, 6)
    check = ChainCheck(known)
    check.check(batch)
    known.keep(batch)
    vault.last[SPOOL] = batch[3].hash
    forked = [vault.entry(5), vault.entry(6), vault.entry(7)]
    assert set(kinds(check.check(forked))) == {(F.FORK, 5), (F.FORK, 6), (F.BROKEN_CHAIN, 7)}


def test_a_late_entry_is_held_against_the_one_before(vault: "Vault") -> None:
    """A dead letter that was resent fills its hole, and is checked there."""
    known = Known()
    batch = made(vault, 6)
    check = ChainCheck(known)
    rest = batch[:3] + batch[4:]
    assert check.check(rest) == []
    known.keep(rest)
    assert check.check([batch[3]]) == []
    vault.last[SPOOL] = b"y" * 32
    assert kinds(check.check([vault.entry(4)])) == [(F.BROKEN_CHAIN, 4)]
