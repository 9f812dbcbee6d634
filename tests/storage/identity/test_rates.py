"""How much feedback an identity may give."""

from dataclasses import replace

from infertap.identity import Identity, Role
from storage.identity import FeedbackRates

APP = Identity("app", "t", frozenset({Role.FEEDBACK}))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_minutes_worth() -> None:
    """A minute's worth may come at once, then what is filled in; the refused are told when to come again."""
    clock = Clock()
    rates = FeedbackRates(60, clock)
    assert [rates.take(APP, 30), rates.take(APP, 30)] == [0.0, 0.0]
    assert rates.take(APP, 5) == 5.0
    clock.now += 5
    assert rates.take(APP, 5) == 0.0
    assert rates.take(APP, 1) == 1.0


def test_more_at_once_than_a_minutes_worth() -> None:
    """It is taken out of a full bucket, and owed."""
    clock = Clock()
    rates = FeedbackRates(60, clock)
    assert rates.take(APP, 120) == 0.0
    assert rates.take(APP, 1) == 61.0
    clock.now += 61
    assert rates.take(APP, 1) == 0.0


def test_each_identity_has_its_own() -> None:
    """One that gives much leaves the others theirs; a figure of one's own counts."""
    rates = FeedbackRates(10, Clock())
    assert rates.take(APP, 10) == 0.0
    assert rates.take(APP, 1) > 0
    assert rates.take(replace(APP, name="other"), 10) == 0.0
    assert rates.take(replace(APP, name="large", feedback_per_minute=1000), 500) == 0.0
    assert rates.take(replace(APP, name="large", feedback_per_minute=1000), 500) == 0.0


def test_no_limit() -> None:
    """Without a figure anything goes."""
    rates = FeedbackRates(None, Clock())
    assert {rates.take(APP, 1000) for _ in range(100)} == {0.0}
