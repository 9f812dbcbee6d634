"""The spool: appended means durable, numbered, chained and found again."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from sidecar.spool import SpoolFailed, SpoolFull, SpoolReplaced

if TYPE_CHECKING:
    from tests.sidecar.spool.conftest import TriedSpool

OpenSpool = Callable[..., "TriedSpool"]


def test_new_spool_is_empty(open_spool: OpenSpool) -> None:
    """Nothing in it, and nothing to be found."""
    spool = open_spool()
    assert spool.account().appended == 0
    assert spool.account().next_sequence == 1
    assert (spool.live(), spool.pending(), spool.notes()) == ([], [], {})
    assert spool.newest_first(None, 10) == []
    assert spool.find(spool.key(1)) is None
    assert spool.get(1) is None


def test_appended_records_are_found(open_spool: OpenSpool) -> None:
    """Sequences rise from 1 without holes; each record is found by sequence and by key, and chained."""
    spool = open_spool()
    assert spool.add(range(1, 6)) == range(1, 6)
    assert spool.add([6]) == range(6, 7)
    assert [entry.record for entry in spool.live()] == [spool.record(number) for number in range(1, 7)]
    found = spool.find(spool.key(4))
    assert found is not None
    assert found == spool.get(4)
    assert (found.first, found.last, found.size) == (4, 4, 40)
    spool.check()


@pytest.mark.parametrize("size", [0, 1, 3963, 3964, 3965, 8043, 8044, 100_000, 3 << 20])
def test_records_of_any_size(open_spool: OpenSpool, size: int) -> None:
    """A record is read as it was written, whether it fills no chunk, one exactly, or hundreds."""
    spool = open_spool()
    record = bytes(index % 251 for index in range(size))
    spool.append([(spool.key(1), record), (spool.key(2), b"behind it")])
    read = spool.get(1)
    assert read is not None
    assert read.record == record
    assert [entry.sequence for entry in spool.live()] == [1, 2]
    spool.check()


def test_same_key_again(open_spool: OpenSpool) -> None:
    """Of several records of one key the latest is found; all are kept."""
    spool = open_spool()
    spool.add([7, 8, 7])
    found = spool.find(spool.key(7))
    assert found is not None
    assert found.sequence == 3
    assert spool.account().appended == 3


def test_survives_reopening(open_spool: OpenSpool) -> None:
    """Records, numbers, id, notes and the chain go on where they were."""
    spool = open_spool()
    spool.append([(spool.key(1), b"one")], {b"books": b"1", b"other": b"x"})
    spool.note({b"other": b""})
    spool_id = spool.spool_id
    spool.close()
    spool.close()
    again = open_spool()
    assert again.spool_id == spool_id
    assert again.notes() == {b"books": b"1"}
    assert again.add([2]) == range(2, 3)
    assert [entry.sequence for entry in again.live()] == [1, 2]
    again.check()


def test_emptied_spool_does_not_begin_again(open_spool: OpenSpool) -> None:
    """Sequences are never given twice, also when no record is left."""
    spool = open_spool(ring=True)
    for number in range(1, 60):
        spool.add([number], 1 << 20)
    spool.close()
    spool = open_spool(ring=True)
    assert spool.add([60]) == range(60, 61)


def test_notes_are_of_one_piece_with_records(open_spool: OpenSpool) -> None:
    """A batch that is refused leaves its notes unwritten too."""
    spool = open_spool()
    spool.append([], {b"n": b"1"})
    with pytest.raises(SpoolFull):
        spool.append([(spool.key(1), b"x" * (7 << 20))], {b"n": b"2"})
    assert spool.notes() == {b"n": b"1"}
    assert spool.account().appended == 0


def test_key_of_another_length(open_spool: OpenSpool) -> None:
    """A key that is not 16 bytes is the caller's mistake."""
    with pytest.raises(ValueError, match="16 bytes"):
        open_spool().append([(b"short", b"")])


def test_closed(open_spool: OpenSpool) -> None:
    """A closed spool refuses everything with its own error."""
    spool = open_spool()
    spool.close()
    for act in (spool.account, spool.notes, lambda: spool.add([1]), lambda: spool.get(1)):
        with pytest.raises(SpoolFailed, match="closed"):
            act()


def test_lists_are_bounded(open_spool: OpenSpool) -> None:
    """Lists go either way, in steps bounded by number and bytes, and only an empty one is the end."""
    spool = open_spool(64 << 20)
    for first in range(1, 31, 5):
        spool.add(range(first, first + 5), 500_000)
    assert [entry.sequence for entry in spool.newest_first(None, 3)] == [30, 29, 28]
    assert [entry.sequence for entry in spool.newest_first(28, 2)] == [27, 26]
    assert [entry.sequence for entry in spool.oldest_first(27, 100)] == [28, 29, 30]
    assert spool.newest_first(1, 10) == spool.oldest_first(30, 10) == []
    assert sum(entry.size for entry in spool.newest_first(None, 100)) <= 5 << 20


def test_threads(open_spool: OpenSpool) -> None:
    """Appending, reading, leasing and acknowledging threads don't disturb each other."""
    spool = open_spool(ring=False)
    faults: list[BaseException] = []
    ending = threading.Event()

    def guarded(act: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            try:
                while not ending.is_set():
                    act()
            except BaseException as fault:
                faults.append(fault)

        return threading.Thread(target=run)

    def settle() -> None:
        leased = spool.lease(0, 64, 1 << 20)
        spool.ack([(entry.first, entry.last) for entry in leased])

    acts = (settle, spool.account, lambda: spool.newest_first(None, 50), spool.check_readers)
    threads = [guarded(act) for act in acts]
    for thread in threads:
        thread.start()
    for number in range(1, 101):
        spool.add([number], 2000)
    ending.set()
    for thread in threads:
        thread.join(20)
    assert faults == []
    assert spool.account().acked == 100 - len(spool.pending())
    spool.check()


def test_news_of_a_spool_that_was_set_aside(open_spool: OpenSpool) -> None:
    """What storage says of another spool settles nothing here, whatever it says."""
    spool = open_spool()
    spool.add([1])
    of = b"another spool id"
    news: list[Callable[[], None]] = [
        lambda: spool.ack([(1, 1)], of),
        lambda: spool.rewind([(1, 1)], of),
        lambda: spool.dead_letter(1, "no", of),
        lambda: spool.forget([(1, 1)], of),
    ]
    for each in news:
        with pytest.raises(SpoolReplaced):
            each()
    account = spool.account()
    assert (account.pending, account.acked, account.dead_lettered) == (1, 0, 0)
    spool.ack([(1, 1)], spool.spool_id)
    assert spool.account().acked == 1
