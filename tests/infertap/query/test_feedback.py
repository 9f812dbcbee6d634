"""Which feedback a filter lets through: one piece must be all that is asked for."""

import pytest

from infertap import v1
from infertap.query import FeedbackQuery

GIVEN = [
    v1.Feedback(rating=2.0, labels=["late", "wrong"]),
    v1.Feedback(thumb=v1.THUMB_UP, labels=["fine"]),
]


@pytest.mark.parametrize(
    ("asked", "is_meant"),
    [
        (v1.FeedbackFilter(), True),
        (v1.FeedbackFilter(is_absent=True), False),
        (v1.FeedbackFilter(label="wrong"), True),
        (v1.FeedbackFilter(label="wron"), False),
        (v1.FeedbackFilter(thumb=v1.THUMB_UP), True),
        (v1.FeedbackFilter(thumb=v1.THUMB_DOWN), False),
        (v1.FeedbackFilter(min_rating=2), True),
        (v1.FeedbackFilter(min_rating=2.5), False),
        (v1.FeedbackFilter(max_rating=2), True),
        (v1.FeedbackFilter(max_rating=1.5), False),
        (v1.FeedbackFilter(label="late", max_rating=2), True),
        (v1.FeedbackFilter(label="fine", max_rating=2), False),
        (v1.FeedbackFilter(label="late", thumb=v1.THUMB_UP), False),
    ],
)
def test_one_piece_is_all_that_is_asked_for(asked: v1.FeedbackFilter, is_meant: bool) -> None:
    """Bounds are included, labels whole, and what two pieces say together counts for neither."""
    assert FeedbackQuery.of(asked).matches(GIVEN) is is_meant


def test_none_at_all() -> None:
    """A call without feedback is what asks for none, and nothing else that names a property."""
    assert FeedbackQuery.of(v1.FeedbackFilter(is_absent=True)).matches([])
    assert not FeedbackQuery.of(v1.FeedbackFilter()).matches([])
    assert not FeedbackQuery.of(v1.FeedbackFilter(max_rating=5)).matches([])
