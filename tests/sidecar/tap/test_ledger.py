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


SEGMENT = 300_000_000_000


def test_segments(make_rig):
    """A call that lasts is recorded in segments of one call number; each is counted, and captures anew."""
    rig = make_rig()
    ledger = rig.context.ledger
    first = opened(rig)
    first.request_head, first.flags, first.is_reported = b"head", ["mark", "capture_budget_spent"], True
    second = ledger.next_segment(first, first.started + SEGMENT)
    assert second is not first
    assert (second.call_number, second.started, second.request_head) == (1, first.started, b"head")
    assert (second.response.size, second.flags, second.is_reported, second.ended) == (0, ["mark"], True, -1)
    rig.context.budget.capture(second, second.request, b"more")
    ledger.settle(second, EndedBy.MODEL, first.started + SEGMENT + 9)
    assert [(each.segment, each.is_continued, each.ended_by) for each in rig.kept] == [
        (0, True, EndedBy.OPEN),
        (1, False, EndedBy.MODEL),
    ]
    assert rig.count() == {"seen": 2, "handed_over": 2, "segments": 1}
    assert rig.budget.used == 0


def test_segments_that_are_not_over(make_rig):
    """A segment lasts its time, and goes on where nothing passed in it."""
    rig = make_rig()
    ledger = rig.context.ledger
    call = opened(rig)
    assert ledger.next_segment(call, call.started + SEGMENT - 1) is call
    second = ledger.next_segment(call, call.started + SEGMENT)
    assert ledger.next_segment(second, call.started + 2 * SEGMENT) is second
    rig.context.budget.capture(second, second.request, b"more")
    assert ledger.next_segment(second, call.started + 3 * SEGMENT - 1) is second
    assert ledger.next_segment(second, call.started + 3 * SEGMENT).segment == 2


def test_an_answer_that_ended_before_its_request(make_rig):
    """The end that the tap noted goes on with the call."""
    rig = make_rig()
    call = opened(rig)
    call.ended = 5
    assert rig.context.ledger.next_segment(call, call.started + SEGMENT).ended == 5


@pytest.mark.parametrize(
    ("rate", "by", "kept"),
    [("1", EndedBy.MODEL, 3), ("0", EndedBy.MODEL, 0), ("0", EndedBy.CLIENT, 1), ("1", EndedBy.CLIENT, 3)],
)
def test_segments_are_sampled_alike(make_rig, rate, by, kept):
    """What the first segment decides holds for all; of a call that is not kept the last is, if it failed."""
    rig = make_rig(sample_rate=rate)
    ledger = rig.context.ledger
    call = opened(rig)
    for number in (1, 2):
        call = ledger.next_segment(call, call.started + number * SEGMENT)
        rig.context.budget.capture(call, call.request, b"more")
    ledger.settle(call, by, rig.now())
    assert len(rig.kept) == kept
    rig.check_balance()


@given(
    st.lists(
        st.sampled_from(["open", "settle", "fail", "fault", "skip", "unfollowed", "fill", "empty", "segment"])
    )
)
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
        elif step == "segment" and calls:
            calls.append(ledger.next_segment(calls.pop(0), rig.now() + SEGMENT))
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


class Reports:
    """What the recorder would be told of calls in flight."""

    def __init__(self):
        self.has_room = True
        self.told = []

    def begin(self, call):
        self.told.append(("begin", call.call_number))
        return self.has_room

    def go_on(self, call):
        self.told.append(("go on", call.call_number))

    def end(self, call, is_recorded):
        self.told.append(("end", call.call_number, is_recorded))


@pytest.fixture
def reports():
    return Reports()


def reporting(make_rig, reports, **settings):
    """A rig whose ledger reports, and a call that was reported once."""
    rig = make_rig(**settings)
    rig.context.ledger._reports = reports
    call = opened(rig)
    rig.context.ledger.report(call, rig.now())
    return rig, call


def test_reported_once(make_rig, reports):
    """A call that lasts is taken up once; where there is no room, it is tried again."""
    reports.has_room = False
    rig, call = reporting(make_rig, reports)
    reports.has_room = True
    for _ in range(3):
        rig.context.ledger.report(call, rig.now())
    assert reports.told == [("begin", 1), ("begin", 1)]


def test_ends_of_reported_calls(make_rig, reports):
    """The end of a reported call is told, with whether there will be a record; of others nothing is."""
    rig, call = reporting(make_rig, reports)
    rig.context.ledger.settle(call, EndedBy.MODEL, rig.now())
    rig.context.ledger.settle(opened(rig), EndedBy.MODEL, rig.now())
    assert reports.told == [("begin", 1), ("end", 1, True)]


@pytest.mark.parametrize("why", ["not_sampled", "shed", "fault"])
def test_reported_calls_without_a_record(make_rig, reports, why):
    """A reported call that is not kept, shed or given up ends without a record."""
    rig, call = reporting(make_rig, reports, sample_rate="0" if why == "not_sampled" else "1")
    rig.takes = why != "shed"
    if why == "fault":
        rig.context.ledger.shed_fault(call)
    else:
        rig.context.ledger.settle(call, EndedBy.MODEL, rig.now())
    assert reports.told == [("begin", 1), ("end", 1, False)]


def test_segments_of_a_reported_call(make_rig, reports):
    """A segment ends no call: the report goes on with the next one, and ends with the last."""
    rig, call = reporting(make_rig, reports)
    following = rig.context.ledger.next_segment(call, rig.now() + 10**15)
    assert following is not call
    rig.context.ledger.settle(following, EndedBy.MODEL, rig.now())
    assert reports.told == [("begin", 1), ("go on", 1), ("end", 1, True)]
