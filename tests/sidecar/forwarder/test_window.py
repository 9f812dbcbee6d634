"""Which batches are under way."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.forwarder.window import MAX_BATCHES, Window


def test_bounded() -> None:
    """There is room for so many batches, and again when one is settled."""
    window = Window()
    for number in range(MAX_BATCHES):
        assert window.has_room
        window.sent([(number, number)], 1.0)
    assert not window.has_room
    window.acked([(2, 2)], 2.0)
    assert window.has_room


def test_partly_settled_batch_stays() -> None:
    """A batch is settled when each of its entries is, acknowledged in pieces or rejected as a whole."""
    window = Window()
    window.sent([(1, 1), (2, 2), (3, 9)], 1.0)
    window.acked([(1, 1), (4, 5)], 2.0)
    window.rejected(2, 3.0)
    assert not window.is_empty
    window.rejected(6, 4.0)
    assert not window.is_empty, "7 to 9 are still open"
    window.acked([(7, 9)], 4.0)
    window.acked([(3, 3)], 4.0)
    assert window.is_empty


def test_waiting_since() -> None:
    """Storage owes an answer since the oldest batch was sent, or since it last answered."""
    window = Window()
    assert window.waiting_since is None
    window.sent([(1, 1)], 5.0)
    window.sent([(2, 2)], 6.0)
    assert window.waiting_since == 5.0
    window.acked([(1, 1)], 8.0)
    assert window.waiting_since == 8.0
    window.sent([(3, 3)], 9.0)
    assert window.waiting_since == 8.0
    window.acked([(2, 3)], 9.5)
    assert window.waiting_since is None


batches = st.lists(st.integers(1, 5), min_size=1, max_size=MAX_BATCHES)
acks = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=12)


@given(batches, acks)
def test_any_acks(sizes: list[int], acks: list[tuple[int, int]]) -> None:
    """The window is empty exactly when every sequence that was sent has been acknowledged."""
    window = Window()
    first = 1
    for size in sizes:
        window.sent([(first, first + size - 1)], 1.0)
        first += size
    left = set(range(1, first))
    for one, other in acks:
        low, high = min(one, other), max(one, other)
        window.acked([(low, high)], 2.0)
        left -= set(range(low, high + 1))
        assert window.is_empty == (not left)
