"""Leases, acknowledgements, refusals, damage, and storage's word on connecting."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb
import pytest

from sidecar.spool import Gap, Spooled, SpoolForked, settlement

if TYPE_CHECKING:
    from tests.sidecar.spool.conftest import TriedSpool

OpenSpool = Callable[..., "TriedSpool"]


def sequences(entries: "list[Spooled | Gap]") -> list[int | tuple[int, int, str]]:
    """Records by sequence, gaps by ends and reason."""
    return [
        entry.sequence if isinstance(entry, Spooled) else (entry.first, entry.last, entry.reason)
        for entry in entries
    ]


def test_lease_is_bounded_and_marks_nothing(open_spool: OpenSpool) -> None:
    """At most so many entries and bytes, but one at least; leasing again gives the same."""
    spool = open_spool()
    spool.add(range(1, 11), 1000)
    assert sequences(spool.lease(0, 3, 1 << 20)) == [1, 2, 3]
    assert sequences(spool.lease(0, 100, 2500)) == [1, 2]
    assert sequences(spool.lease(4, 100, 1)) == [5]
    assert sequences(spool.lease(0, 3, 1 << 20)) == [1, 2, 3]
    assert spool.lease(10, 100, 1 << 20) == []


def test_acks_in_any_order(open_spool: OpenSpool) -> None:
    """What is acknowledged is not leased again but stays readable; old and absurd news is harmless."""
    spool = open_spool()
    spool.add(range(1, 11))
    spool.ack([(7, 8), (2, 3)])
    spool.ack([(2, 3), (0, 0), (8, 7), (10, 5000)])
    assert sequences(spool.pending()) == [1, 4, 5, 6, 9]
    assert (spool.account().acked, spool.account().pending) == (5, 5)
    assert len(spool.live()) == 10
    spool.check()


def test_ack_of_what_is_appended_later(open_spool: OpenSpool) -> None:
    """An acknowledgement of what was never appended does not hold for what comes."""
    spool = open_spool()
    spool.ack([(1, 100)])
    spool.add([1])
    assert sequences(spool.pending()) == [1]


def test_dead_letter(open_spool: OpenSpool) -> None:
    """What storage refuses is set aside once, stays readable, and the rest goes on."""
    spool = open_spool()
    spool.add(range(1, 5))
    for _ in range(2):
        spool.dead_letter(2, "unreadable")
    spool.dead_letter(99, "never was")
    assert sequences(spool.pending()) == [1, 3, 4]
    assert spool.account().dead_lettered == 1
    assert spool.get(2) is not None
    spool.ack([(1, 3)])
    assert (spool.account().dead_lettered, spool.account().acked) == (0, 3)
    spool.dead_letter(1, "too late")
    assert spool.account().dead_lettered == 0
    spool.check()


@pytest.mark.parametrize("sequence", [0, 2, (1 << 64) - 1])
def test_dead_letter_that_was_never_appended(open_spool: OpenSpool, sequence: int) -> None:
    """A refusal of what was never appended is ignored, whatever the number."""
    spool = open_spool()
    spool.append([(bytes(16), b"a record")])
    spool.dead_letter(sequence, "no")
    assert spool.account().pending == 1
    assert spool.account().dead_lettered == 0


def damage(directory: Path, mark: bytes) -> None:
    """Change one byte behind `mark` in the file, as a bad disk does."""
    file = directory / "data.mdb"
    data = bytearray(file.read_bytes())
    at = data.index(mark) + len(mark)
    while at >= 0:  # every copy of the page
        data[at] ^= 1
        at = data.find(mark, at)
        at = at + len(mark) if at >= 0 else -1
    file.write_bytes(data)


def test_rows_that_are_not_found_become_gaps(open_spool: OpenSpool, directory: Path) -> None:
    """Records that the books call pending and no key leads to any more are told to storage as a gap."""
    spool = open_spool()
    spool.add(range(1, 6))
    spool.ack([(1, 1)])
    spool.close()
    with lmdb.open(str(directory), max_dbs=8, map_size=16 << 20) as env:
        rows = env.open_db(b"rows")
        with env.begin(write=True) as txn:
            for sequence in (2, 3, 5):
                assert txn.delete(sequence.to_bytes(8) + bytes(2), db=rows)
    spool = open_spool()
    assert sequences(spool.lease(0, 10, 1 << 20)) == [4]
    spool.ack([(4, 4)])
    assert sequences(spool.lease(0, 10, 1 << 20)) == [(2, 3, "corrupt"), (5, 5, "corrupt")]
    assert (spool.account().pending, spool.account().corrupt) == (0, 3)
    spool.ack([(2, 5)])
    assert spool.lease(0, 10, 1 << 20) == []
    spool.check()


def test_damaged_rows_become_gaps(open_spool: OpenSpool, directory: Path) -> None:
    """A row that is not as it was written is no record: it is told to storage as a gap, the rest is sent."""
    spool = open_spool()
    spool.add(range(1, 6), 5000)
    after = spool.get(3)
    assert after is not None
    spool.close()
    damage(directory, b"record 3 ")
    spool = open_spool()
    assert spool.get(3) is None
    assert spool.find(spool.key(3)) is None
    assert [entry.sequence for entry in spool.live()] == [1, 2, 4, 5]
    pending = spool.pending()
    assert sequences(pending) == [1, 2, (3, 3, "corrupt"), 4, 5]
    gap = pending[2]
    assert isinstance(gap, Gap)
    assert gap.last_hash == after.hash, "the chain goes on behind it"
    assert spool.account().corrupt == 1
    spool.ack([(1, 5)])
    assert spool.pending() == []
    assert (spool.account().acked, spool.account().corrupt) == (4, 1)
    spool.check()


def test_very_many_damaged_rows(open_spool: OpenSpool, directory: Path) -> None:
    """Damage that is everywhere is told as one gap, step by step."""
    spool = open_spool()
    for number in range(1, 201):
        spool.append([(spool.key(number), b"the same " + bytes(5000))])
    spool.close()
    damage(directory, b"the same ")
    spool = open_spool()
    assert sequences(spool.lease(0, 10, 1 << 20)) == [(1, 200, "corrupt")]
    assert spool.account().corrupt == 200
    spool.check()


def test_damage_that_was_settled_meanwhile(open_spool: OpenSpool, directory: Path) -> None:
    """A damaged row that storage turned out to have is neither corrupt nor counted twice."""
    spool = open_spool()
    spool.add(range(1, 4), 5000)
    spool.close()
    damage(directory, b"record 2 ")
    spool = open_spool()
    spool.ack([(2, 2)])
    with spool._file.writing() as txn:
        settlement.give_up_damaged(txn, [2])
    assert (spool.account().acked, spool.account().corrupt) == (1, 0)
    spool.check()


def test_rewind_to_what_storage_lacks(open_spool: OpenSpool) -> None:
    """A storage restored from a backup gets again what it lacks; what it has and we did not know is acked."""
    spool = open_spool()
    spool.add(range(1, 11))
    spool.ack([(1, 8)])
    spool.rewind([(1, 4), (10, 10)])
    assert sequences(spool.pending()) == [5, 6, 7, 8, 9]
    assert (spool.account().acked, spool.account().pending) == (5, 5)
    spool.rewind([])
    assert sequences(spool.pending()) == list(range(1, 11))
    spool.check()


def test_rewind_to_what_is_gone(open_spool: OpenSpool) -> None:
    """What storage lacks and the spool had to drop since is declared a gap, with its reason and hash."""
    spool = open_spool()
    for number in range(1, 21):
        spool.add([number], 1 << 20)
        spool.ack([(number, number)])
    oldest = spool.live()[0]
    spool.rewind([])
    pending = spool.pending()
    assert sequences(pending) == [(1, oldest.sequence - 1, "evicted"), *range(oldest.sequence, 21)]
    gap = pending[0]
    assert isinstance(gap, Gap)
    assert gap.last_hash == oldest.previous_hash
    spool.check()


def test_ring_that_gets_a_storage(open_spool: OpenSpool) -> None:
    """What expired before there was a storage is told to it as a gap."""
    spool = open_spool(ring=True)
    for number in range(1, 21):
        spool.add([number], 1 << 20)
    expired = spool.account().expired
    assert expired > 0
    spool.close()
    spool = open_spool(ring=False)
    spool.rewind([])
    assert sequences(spool.pending()) == [(1, expired, "expired"), *range(expired + 1, 21)]
    spool.ack([(1, 20)])
    spool.check()


def test_forked_spool(open_spool: OpenSpool) -> None:
    """Storage that knows more than was ever appended met a copy: the spool goes on under a new id."""
    spool = open_spool()
    spool.add([1, 2])
    spool_id = spool.spool_id
    with pytest.raises(SpoolForked):
        spool.rewind([(1, 3)])
    assert spool.spool_id != spool_id
    spool.rewind([])
    assert sequences(spool.pending()) == [1, 2]


def test_dead_letters_are_listed_and_resent(open_spool: OpenSpool) -> None:
    """Each with its reason and record; what is resent is pending in its place, as any other."""
    spool = open_spool()
    spool.add(range(1, 8))
    for number in (2, 3, 5):
        spool.dead_letter(number, f"no {number}")
    spool.ack([(1, 1), (4, 4), (6, 7)])
    assert [(each.sequence, each.reason) for each in spool.dead_letters(0, 2)] == [(2, "no 2"), (3, "no 3")]
    (last,) = spool.dead_letters(3, 2)
    assert last.spooled is not None
    assert last.spooled.record == spool.record(5)
    assert spool.lease(0, 10, 1 << 20) == []
    assert spool.resend([2, 5, 1, 6, 99]) == 2, "what is no dead letter is left alone"
    assert spool.resend([2, 5]) == 0
    assert (spool.account().pending, spool.account().dead_lettered) == (2, 1)
    assert sequences(spool.pending()) == [2, 5]
    spool.ack([(2, 2)])
    spool.dead_letter(5, "still no")
    assert [(each.sequence, each.reason) for each in spool.dead_letters(0, 9)] == [
        (3, "no 3"),
        (5, "still no"),
    ]
    assert (spool.account().acked, spool.account().dead_lettered) == (5, 2)
    spool.check()


def test_forgotten_records_leave_the_spool(open_spool: OpenSpool) -> None:
    """What storage deleted is dropped, if storage had it; the rest stays, the account and the chain hold."""
    spool = open_spool(64 << 20)
    spool.add(range(1, 601), 9_000)
    spool.ack([(1, 590)])
    before = spool.account()
    spool.forget([(5, 580), (585, 700)])
    assert [each.sequence for each in spool.live()] == [1, 2, 3, 4, 581, 582, 583, 584, *range(591, 601)]
    after = spool.account()
    assert (after.acked, after.pending, after.appended) == (before.acked, before.pending, before.appended)
    spool.rewind([(1, 590)])
    assert sequences(spool.pending()) == list(range(591, 601))
    spool.check()
