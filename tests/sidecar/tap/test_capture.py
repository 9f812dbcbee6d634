"""Capture: caps on each body and on all of them, and that everything is given back."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.exchange import PIECE_TIMES, Exchange, Protocol
from sidecar.tap import CaptureBudget
from sidecar.tap.capture import PIECE_TIME_BYTES


def call():
    return Exchange(1, 0, Protocol.HTTP1, 0)


def head_of(body):
    return b"".join(body.captured_pieces)


def tail_of(body):
    return b"".join(body.tail_pieces or ())


def test_whole_body():
    """What fits is kept whole: as a head, and what goes beyond three quarters of the limit as a tail."""
    budget, one = CaptureBudget(1000, 100), call()
    budget.capture(one, one.request, b"a" * 60)
    budget.capture(one, one.request, b"b" * 40)
    assert (head_of(one.request), tail_of(one.request)) == (b"a" * 60 + b"b" * 15, b"b" * 25)
    assert (one.request.captured, one.request.size, budget.used, budget.cut) == (100, 100, 100, 0)


def test_body_limit():
    """Beyond the body's limit head and tail are kept; the true size is counted, and the cut once."""
    budget, one = CaptureBudget(1000, 100), call()
    for letter in (b"a", b"b", b"c"):
        budget.capture(one, one.request, letter * 70)
    assert (head_of(one.request), tail_of(one.request)) == (b"a" * 70 + b"b" * 5, b"c" * 12)
    assert (one.request.captured, one.request.size, budget.used, budget.cut) == (87, 210, 87, 1)
    assert one.flags == []


def test_the_tail_is_never_short():
    """Of a large piece that has to go so much stays that the tail holds half of its limit."""
    budget, one = CaptureBudget(10_000, 4000), call()
    budget.capture(one, one.response, b"a" * 3000)
    for letter in (b"b", b"c"):
        budget.capture(one, one.response, letter * 1000)
    budget.capture(one, one.response, b"the end")
    assert tail_of(one.response) == b"c" * 493 + b"the end"
    assert one.response.captured == 3500 == budget.used


def test_large_bodies_are_not_copied():
    """Pieces that fit into the tail are kept as the objects they came in, and dropped whole."""
    budget, one = CaptureBudget(10 << 20, 1 << 20), call()
    pieces = [bytes([number]) * (64 << 10) for number in range(64)]
    for piece in pieces:
        budget.capture(one, one.request, piece)
    assert list(map(id, one.request.tail_pieces)) == list(map(id, pieces[-4:]))


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


def test_behind_a_hole():
    """A head that has been cut stays cut, even when there is room again: what comes then is the tail."""
    budget, one = CaptureBudget(40, 100), call()
    budget.capture(one, one.request, b"a" * 50)
    budget.used = 0
    budget.capture(one, one.request, b"b")
    assert (head_of(one.request), tail_of(one.request)) == (b"a" * 40, b"b")
    assert (one.request.captured, one.request.size) == (41, 51)


def test_a_spent_budget_drops_the_tail():
    """A tail that can't be gone on with for want of budget is given up: it would not be the end any more."""
    budget, one, other = CaptureBudget(120, 100), call(), call()
    budget.capture(one, one.request, b"a" * 90)
    budget.capture(other, other.request, b"x" * 30)
    budget.capture(one, one.request, b"b" * 20)
    assert (head_of(one.request), tail_of(one.request)) == (b"a" * 75, b"")
    assert (one.request.captured, budget.used, one.flags) == (75, 105, ["capture_budget_spent"])


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
    """Neither limit is ever passed, sizes are true, captures are heads and tails, and all is given back."""
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
        head, tail = head_of(body), tail_of(body)
        assert data.startswith(head)
        assert data.endswith(tail)
        assert len(tail) == body.tail
        assert len(head + tail) == body.captured <= body_limit
        assert body.size == len(data)
        assert body.captured < body.size or head + tail == data
    for one in calls:
        budget.release_times(one)
        budget.release(one)
    assert budget.used == 0
