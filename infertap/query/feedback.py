"""Feedback: a FeedbackFilter, checked, and which feedback it lets through. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from infertap import v1
from infertap.query.errors import InvalidArgumentError

_FIELD = "filter.feedback"
_LABEL_MOST = 128


@dataclass(frozen=True, slots=True)
class FeedbackQuery:
    """What feedback a call must have: one piece that is all this, or none. None and empty: whatever."""

    is_absent: bool = False
    # Both ends inclusive.
    min_rating: float | None = None
    max_rating: float | None = None
    label: str = ""
    thumb: int = 0

    @classmethod
    def of(cls, asked: v1.FeedbackFilter) -> "FeedbackQuery":
        """`asked`, checked; raises InvalidArgumentError that names the field."""
        low = asked.min_rating if asked.HasField("min_rating") else None
        high = asked.max_rating if asked.HasField("max_rating") else None
        made = cls(asked.is_absent, low, high, asked.label, asked.thumb)
        if any(each is not None and not math.isfinite(each) for each in (low, high)):
            raise InvalidArgumentError(f"{_FIELD}.min_rating", "expected numbers")
        if low is not None and high is not None and high < low:
            raise InvalidArgumentError(f"{_FIELD}.max_rating", "below min_rating")
        if len(asked.label) > _LABEL_MOST:
            raise InvalidArgumentError(f"{_FIELD}.label", f"longer than {_LABEL_MOST} characters")
        if asked.thumb not in v1.Thumb.values():
            raise InvalidArgumentError(f"{_FIELD}.thumb", "expected THUMB_UP or THUMB_DOWN")
        if asked.is_absent and made != cls(is_absent=True):
            raise InvalidArgumentError(f"{_FIELD}.is_absent", "what is not there has no other property")
        return made

    def matches(self, given: Iterable[v1.Feedback]) -> bool:
        """Whether a call with that feedback is asked for."""
        return not any(given) if self.is_absent else any(map(self._is_meant, given))

    def _is_meant(self, piece: v1.Feedback) -> bool:
        is_rated = piece.HasField("rating")
        return (
            (self.min_rating is None or (is_rated and piece.rating >= self.min_rating))
            and (self.max_rating is None or (is_rated and piece.rating <= self.max_rating))
            and (not self.label or self.label in piece.labels)
            and (not self.thumb or piece.thumb == self.thumb)
        )
