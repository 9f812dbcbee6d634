"""The account of law 4 as a pure function of the counters page."""

import os
from collections.abc import Iterator

import pytest

from sidecar.account import DROPPED, SETTLED, SHED, close_books, draw_up, terms
from sidecar.counters import RECORDER_COUNTERS, RELAY_COUNTERS, CounterPage, Row

RELAY = dict.fromkeys(RELAY_COUNTERS, 0)
RECORDER = dict.fromkeys(RECORDER_COUNTERS, 0)


@pytest.fixture
def row() -> Iterator[Row]:
    page = CounterPage.create(1)
    yield page.relay(0)
    os.close(page.descriptor)


def test_every_place_of_a_call_counts() -> None:
    """Each term of each line belongs to it: a call in any of them makes its total."""
    for place in ("open", *SETTLED):
        account = draw_up([RELAY | {"seen": 1, place: 1}], RECORDER)
        assert account.calls.balanced, place
    for place in (*DROPPED, "lost_crash"):
        account = draw_up([RELAY | {"seen": 1, "handed_over": 1}], RECORDER | {place: 1})
        assert account.balanced, place
        assert account.hand_over.terms["in_transit"] == 0
    assert set(SHED) | set(DROPPED) == {
        name for name in (*RELAY_COUNTERS, *RECORDER_COUNTERS) if name.startswith(("shed_", "dropped_"))
    }


def test_terms_for_storage() -> None:
    """The terms of two lines by name, what was shed and dropped as one each; together they balance."""
    counted = {"seen": 9, "open": 1, "skipped": 1, SHED[0]: 1, SHED[1]: 1, "handed_over": 5}
    told = terms(draw_up([RELAY | counted], RECORDER | {"appended": 3, DROPPED[0]: 1}))
    assert (told["shed"], told["dropped"], told["in_transit"], told["appended"]) == (2, 1, 1, 3)
    settled = ("open", "skipped", "opaque", "not_sampled", "shed", "handed_over")
    assert told["seen"] == sum(told[name] for name in settled) == 9


def test_relays_are_summed() -> None:
    """The first line is over all relay slots."""
    account = draw_up(
        [RELAY | {"seen": 3, "handed_over": 3}, RELAY | {"seen": 2, "skipped": 2}],
        RECORDER | {"appended": 3, "acked": 2, "pending": 1},
    )
    assert account.balanced
    assert account.calls.total == 5
    assert account.as_json()["calls"] == {
        "seen": 5,
        "open": 0,
        "skipped": 2,
        "opaque": 0,
        "not_sampled": 0,
        **dict.fromkeys(SHED, 0),
        "handed_over": 3,
        "balanced": True,
    }


def test_what_the_recorder_has_not_settled_is_in_transit() -> None:
    """Hand-overs that are neither appended, dropped nor lost are in transit."""
    account = draw_up([RELAY | {"seen": 9, "handed_over": 9}], RECORDER | {"appended": 4, "pending": 4})
    assert account.hand_over.terms["in_transit"] == 5
    assert account.hand_over.balanced


@pytest.mark.parametrize(
    ("relay", "recorder"),
    [
        ({"seen": 1}, {}),
        ({"seen": 0, "open": 1}, {}),
        ({"seen": 1, "handed_over": 1}, {"appended": 2, "pending": 2}),
        ({"seen": 1, "handed_over": 1}, {"appended": 1}),
        ({"seen": 0, "open": -1, "skipped": 1}, {}),
    ],
)
def test_what_does_not_add_up_shows(relay: dict[str, int], recorder: dict[str, int]) -> None:
    """A missing call, one too many or a count below zero makes the account unbalanced."""
    assert not draw_up([RELAY | relay], RECORDER | recorder).balanced


def test_third_line_spans_all_runs() -> None:
    """What earlier runs appended is in the spool too."""
    account = draw_up(
        [RELAY], RECORDER | {"earlier_appended": 10, "acked": 7, "expired": 3, "earlier_seen": 10}
    )
    assert account.balanced
    assert account.spool.total == 10


def test_successor_closes_the_books_by_difference(row: Row) -> None:
    """Calls that a killed relay had open become shed_relay_lost, and nothing is open any more."""
    row["seen"], row["open"], row["handed_over"], row["not_sampled"] = 10, 4, 5, 1
    row["connections_open"], row["accepting"], row["shed_relay_lost"] = 3, 1, 0
    assert close_books(row) == 4
    assert row["shed_relay_lost"] == 4
    assert (row["open"], row["connections_open"], row["accepting"]) == (0, 0, 0)
    assert draw_up([row.values()], RECORDER | {"appended": 5, "pending": 5}).balanced
    assert close_books(row) == 0, "closing twice loses nothing more"


@pytest.mark.parametrize(("seen", "opened"), [(5, 0), (5, 2), (3, 1)])
def test_books_balance_wherever_the_relay_died(row: Row, seen: int, opened: int) -> None:
    """Killed between any two counts of a call, the closed books balance."""
    row["seen"], row["open"], row["skipped"] = seen, opened, 4
    close_books(row)
    assert draw_up([row.values()], RECORDER).calls.balanced
