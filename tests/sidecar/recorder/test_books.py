"""The recorder's books: what they remember over a restart, and how a run that is over is closed."""

from dataclasses import dataclass
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from sidecar.account import DROPPED, IN_SPOOL, SETTLED, Account, draw_up
from sidecar.counters import RECORDER_COUNTERS, RELAY_COUNTERS, Row
from sidecar.recorder.books import Books

RUN: Final = b"r" * 16
NEXT_RUN: Final = b"s" * 16


def recorder_row() -> Row:
    return Row(memoryview(bytearray(8 * len(RECORDER_COUNTERS))).cast("q"), RECORDER_COUNTERS)


def relay_row(**counts: int) -> dict[str, int]:
    return dict.fromkeys(RELAY_COUNTERS, 0) | counts


def account(books: Books, relays: list[dict[str, int]], appended_ever: int) -> Account:
    """The account as the parent would draw it up, of a spool that holds all it was given."""
    row = recorder_row()
    books.publish(row)
    row["earlier_appended"] = appended_ever - books.counts["appended"]
    row["pending"] = appended_ever
    return draw_up(relays, row.values())


def test_new_spool_begins_at_zero() -> None:
    """Without notes nothing is settled and nothing was earlier."""
    books = Books.open(RUN, 2, {})
    assert books.settled == [0, 0]
    assert set(books.counts.values()) == set(books.earlier.values()) == {0}


def test_successor_in_the_same_run_goes_on() -> None:
    """A recorder started again in the same run knows what is settled, by slot, and every count."""
    books = Books.open(RUN, 2, {})
    books.settle(0, 7)
    books.settle(1, 3)
    books.count("appended", 8)
    books.count("lost_crash", 2)
    books.see([relay_row(seen=7), relay_row(seen=4)])
    again = Books.open(RUN, 2, books.notes())
    assert (again.settled, again.counts, again.relays) == (books.settled, books.counts, books.relays)
    assert again.relays["seen"] == 11
    assert set(again.earlier.values()) == {0}


def test_another_run_closes_the_books() -> None:
    """What was open when the sidecar was killed is shed, what was under way is lost_crash."""
    books = Books.open(RUN, 1, {})
    books.see(
        [relay_row(seen=20, skipped=1, opaque=2, not_sampled=3, shed_handoff_full=1, open=3, handed_over=10)]
    )
    books.count("appended", 6)
    books.count("dropped_spool_failed", 1)
    books.count("lost_crash", 1)
    after = Books.open(NEXT_RUN, 4, books.notes())
    assert after.settled == [0, 0, 0, 0]
    assert set(after.counts.values()) == {0}
    assert after.earlier == {"seen": 20, "not_recorded": 6, "shed": 4, "dropped": 1, "lost_crash": 3}


def test_runs_add_up() -> None:
    """Each closed run is added to those before it, and a restart within the next run adds nothing."""
    notes: dict[bytes, bytes] = {}
    for run in range(1, 4):
        books = Books.open(bytes([run]) * 16, 1, notes)
        books.see([relay_row(seen=10, handed_over=10)])
        books.count("appended", 9)
        notes = books.notes()
    last = Books.open(NEXT_RUN, 1, notes)
    assert last.earlier["seen"] == 30
    assert last.earlier["lost_crash"] == 3
    assert Books.open(NEXT_RUN, 1, last.notes()).earlier == last.earlier


def test_numbers_surer_than_the_page() -> None:
    """More settled than the page showed when it was last seen: those calls were seen and handed over."""
    books = Books.open(RUN, 1, {})
    books.see([relay_row(seen=4, handed_over=4)])
    books.count("appended", 6)
    after = Books.open(NEXT_RUN, 1, books.notes())
    assert after.earlier == {"seen": 6, "not_recorded": 0, "shed": 0, "dropped": 0, "lost_crash": 0}


@dataclass(frozen=True)
class Run:
    """What a run counted until it was killed."""

    relay: dict[str, int]
    recorder: dict[str, int]


counts = st.integers(0, 1000)
runs = st.builds(
    Run,
    st.fixed_dictionaries(dict.fromkeys(("open", *SETTLED), counts)),
    st.fixed_dictionaries(dict.fromkeys((*DROPPED, "lost_crash", "appended"), counts)),
)


@given(st.lists(runs, min_size=1, max_size=4))
def test_any_killed_runs_balance(killed: list[Run]) -> None:
    """Whatever each run had counted when it was killed, all lines balance in the next."""
    notes: dict[bytes, bytes] = {}
    appended = 0
    for number, run in enumerate(killed):
        books = Books.open(bytes([number]) * 16, 1, notes)
        books.see([relay_row(seen=sum(run.relay.values()), **run.relay)])
        for name, count in run.recorder.items():
            books.count(name, count)
        appended += run.recorder["appended"]
        notes = books.notes()
    drawn = account(Books.open(NEXT_RUN, 1, notes), [relay_row()], appended)
    assert drawn.balanced, drawn.as_json()
    assert drawn.earlier.terms["appended"] == appended
    assert drawn.spool.terms.keys() == set(IN_SPOOL)
