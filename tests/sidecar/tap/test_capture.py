"""Capture: caps on each body and on all of them, and that everything is given back."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.exchange import PIECE_TIMES, Exchange, Protocol
from sidecar.tap import CaptureBudget
from sidecar.tap.capture import PIECE_TIME_BYTES


def call():
    return Exchange(1, 0, Protocol.HTTP1, 0)


def test_whole_body():
    """What fits is kept whole."""
    budget, one = CaptureBudget(1000, 100), call()
    budget.capture(one, one.request, b"a" * 60)
    budget.capture(one, one.request, b"b" * 40)
    assert b"".join(one.request.captured_pieces) == b"a" * 60 + b"b" * 40
    assert (one.request.captured, one.request.size, budget.used, budget.cut) == (100, 100, 100, 0)


def test_body_limit():
    """Beyond the body's limit nothing is kept; the true size is counted, and the cut once."""
    budget, one = CaptureBudget(1000, 100), call()
    for _ in range(3):
        budget.capture(one, one.request, b"a" * 70)
    assert (one.request.captured, one.request.size, budget.used, budget.cut) == (100, 210, 100, 1)
    assert one.flags == []


def test_budget():
    """When all bodies together reach the budget, bodies are cut, and the call says why."""
    budget, one, other = CaptureBudget(150, 100), call(), call()
    budget.capture(one, one.request, b"a" * 100)
    budget.capture(other, other.request, b"b" * 100)
    budget.capture(other, other.response, b"c")
    assert (other.request.captured, other.request.size) == (50, 100)
    assert (other.response.captured, other.response.size) == (0, 1)
    assert (budget.used, budget.cut) == (150, 2)
    assert (one.flags, other.flags) == ([], ["capture_budget_spent"])


def test_nothing_behind_a_hole():
    """A body that has been cut stays cut, even when there is room again."""
    budget, one = CaptureBudget(10, 100), call()
    budget.capture(one, one.request, b"a" * 20)
    budget.release(one)
    one.request.captured_pieces.clear()
    budget.capture(one, one.request, b"b")
    assert one.request.captured_pieces == []
    assert one.request.size == 21


def test_limit_of_nothing():
    """With a body limit of 0 sizes are all there is."""
    budget, one = CaptureBudget(1000, 0), call()
    budget.capture(one, one.request, b"a")
    assert (one.request.captured_pieces, one.request.size) == ([], 1)


def test_small_pieces_are_joined():
    """Many small pieces do not weigh more than what they hold."""
    budget, one = CaptureBudget(1 << 20, 1 << 20), call()
    for _ in range(100_000):
        budget.capture(one, one.request, b"ab")
    assert b"".join(one.request.captured_pieces) == b"ab" * 100_000
    assert len(one.request.captured_pieces) < 60


def test_times():
    """The first pieces have their times kept, all are counted; times weigh on the budget while open."""
    budget, one = CaptureBudget(1 << 20, 1 << 20), call()
    for now in range(PIECE_TIMES + 5):
        budget.capture_timed(one, one.response, b"x", now)
    assert one.response.piece_times == [(now, 1) for now in range(PIECE_TIMES)]
    assert one.response.piece_count == one.response.size == PIECE_TIMES + 5
    assert budget.used == PIECE_TIMES * PIECE_TIME_BYTES + PIECE_TIMES + 5
    budget.release_times(one)
    budget.release(one)
    assert budget.used == 0


@given(
    st.integers(0, 400),
    st.integers(0, 200),
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.binary(min_size=1, max_size=90))),
)
def test_bounds(limit, body_limit, steps):
    """Neither limit is ever passed, sizes are true, captures are prefixes, and all is given back."""
    budget = CaptureBudget(limit, body_limit)
    calls = [call() for _ in range(4)]
    sent = {}
    for number, is_response, piece in steps:
        one = calls[number]
        body = one.response if is_response else one.request
        if is_response:
            budget.capture_timed(one, body, piece, 1)
        else:
            budget.capture(one, body, piece)
        sent[number, is_response] = sent.get((number, is_response), b"") + piece
        assert budget.used <= limit
    for (number, is_response), data in sent.items():
        body = calls[number].response if is_response else calls[number].request
        kept = b"".join(body.captured_pieces)
        assert data.startswith(kept)
        assert len(kept) == body.captured <= body_limit
        assert body.size == len(data)
    for one in calls:
        budget.release_times(one)
        budget.release(one)
    assert budget.used == 0
