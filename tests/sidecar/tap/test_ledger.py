"""Ledger: every call is in exactly one term of law 4."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.exchange import EndedBy, Protocol
from sidecar.tap import ConnectionFacts

FACTS = ConnectionFacts(0, "", 0, 0)


def opened(rig, status=200):
    call = rig.context.ledger.open(Protocol.HTTP1, FACTS, rig.now())
    call.request_id = rig.context.new_request_id()
    call.status = status
    rig.context.budget.capture_timed(call, call.response, b"x" * 10, 1)
    return call


def test_handed_over_and_shed(make_rig):
    """A kept call is handed over; where the hand-off is full it is shed and counted."""
    rig = make_rig()
    rig.context.ledger.settle(opened(rig), EndedBy.MODEL, rig.now())
    rig.takes = False
    rig.context.ledger.settle(opened(rig), EndedBy.MODEL, rig.now())
    assert rig.count() == {"seen": 2, "handed_over": 1, "shed_handoff_full": 1}
    assert rig.budget.used == 0


def test_a_hand_over_that_raises(make_rig):
    """A fault while a call is settled sheds it: the account balances whatever happens."""
    rig = make_rig()
    del rig.kept  # what the hand-over needs
    with pytest.raises(AttributeError):
        rig.context.ledger.settle(opened(rig), EndedBy.MODEL, rig.now())
    assert rig.count() == {"seen": 1, "shed_tap_fault": 1}


def test_not_sampled(make_rig):
    """A call that is not kept gives its bytes back and costs no hand-over."""
    rig = make_rig(sample_rate="0")
    rig.context.ledger.settle(opened(rig), EndedBy.MODEL, rig.now())
    assert rig.count() == {"seen": 1, "not_sampled": 1}
    assert rig.budget.used == 0


def test_cut_bodies_are_counted(make_rig):
    """Bodies cut by a limit are counted when their call is settled."""
    rig = make_rig(body_limit_bytes="4")
    rig.context.ledger.settle(opened(rig), EndedBy.MODEL, rig.now())
    assert rig.row["bodies_cut"] == 1


def test_numbers_go_on(make_rig):
    """Calls are numbered from the row, so a successor in the slot goes on where its predecessor was."""
    rig = make_rig()
    rig.row["seen"] = 41
    assert opened(rig).call_number == 42


@given(st.lists(st.sampled_from(["open", "settle", "fail", "fault", "skip", "unfollowed", "fill", "empty"])))
def test_balance(make_rig, steps):
    """After any sequence of acts the account balances; once all is settled the budget is free."""
    rig = make_rig(sample_rate="0.5")
    ledger = rig.context.ledger
    calls = []
    for step in [*steps, "empty"]:
        if step == "open":
            calls.append(opened(rig))
        elif step in ("settle", "fail") and calls:
            ledger.settle(calls.pop(), EndedBy.MODEL if step == "settle" else EndedBy.CLIENT, rig.now())
        elif step == "fault" and calls:
            ledger.shed_fault(calls.pop())
        elif step == "skip":
            ledger.skip()
        elif step == "unfollowed":
            ledger.unfollowed()
        elif step in ("fill", "empty"):
            rig.takes = step == "empty"
        rig.check_balance()
    for call in calls:
        ledger.settle(call, EndedBy.RELAY, rig.now())
    rig.check_balance()
    assert rig.row["open"] == rig.budget.used == 0
