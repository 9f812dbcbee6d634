"""Rates: how much feedback an identity may give. Pure but for the clock that is handed in.

A bucket for each identity holds a minute's worth and is filled evenly. What is taken at once may be more than
is in it, but only out of a full one, and is owed then: so a large request is possible, and the rate holds all
the same.
"""

from collections.abc import Callable
from typing import Final

from infertap.identity import Identity

_MINUTE: Final = 60.0


class FeedbackRates:
    """The buckets of all identities, of which the identities file has a bounded number."""

    def __init__(self, per_minute: int | None, clock: Callable[[], float]) -> None:
        """`per_minute` is what an identity may give that has no figure of its own; None: any number."""
        self._per_minute = per_minute
        self._clock = clock
        # By name: what is in the bucket, and when that was.
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, identity: Identity, pieces: int) -> float:
        """Take `pieces`; 0, or where there are not enough, in how many seconds there may be."""
        room = identity.feedback_per_minute or self._per_minute
        if room is None:
            return 0.0
        now = self._clock()
        held, since = self._buckets.get(identity.name, (float(room), now))
        held = min(held + (now - since) * room / _MINUTE, float(room))
        needed = min(pieces, room)
        if held < needed:
            self._buckets[identity.name] = (held, now)
            return (needed - held) * _MINUTE / room
        self._buckets[identity.name] = (held - pieces, now)
        return 0.0
