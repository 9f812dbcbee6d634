"""How many new ones there may be in a day."""

from storage.audit import allowance as allowance_room
from storage.audit.allowance import Allowance

HOUR = 3_600_000_000_000


def test_a_days_worth_at_once() -> None:
    """So many at once, then only as fast as the day goes; each has its own."""
    allowance = Allowance(24)
    assert [allowance.take("red", 0) for _ in range(25)] == [True] * 24 + [False]
    assert allowance.take("blue", 0)
    assert [allowance.take("red", HOUR) for _ in range(2)] == [True, False]
    assert [allowance.take("red", 100 * HOUR) for _ in range(25)] == [True] * 24 + [False]


def test_clocks_that_go_back() -> None:
    """Nothing is given for time that runs backwards."""
    allowance = Allowance(1)
    assert [allowance.take("red", each * HOUR) for each in (100, 0, 1)] == [True, False, False]


def test_any_number() -> None:
    """Where there is no bound nobody is counted."""
    assert all(Allowance(None).take("red", 0) for _ in range(1000))


def test_buckets_are_bounded() -> None:
    """Those of who has not come for a day are forgotten, as they are full."""
    allowance = Allowance(10)
    for number in range(allowance_room._MOST):
        allowance.take(str(number), 0)
    allowance.take("late", 25 * HOUR)
    assert list(allowance._buckets) == ["late"]
