"""Allowance: how much of something each may begin in a day. Pure; the clock is the caller's.

Each has a bucket that holds a day's worth and is filled evenly: so many may come at once, as when everything
is rolled out anew, and no more than that in the long run.
"""

from typing import Final

_DAY_NS: Final = 86_400 * 1_000_000_000
# Buckets, of which a full one need not be remembered.
_MOST: Final = 10_000


class Allowance:
    """The buckets of all."""

    def __init__(self, a_day: int | None) -> None:
        """None: any number."""
        self._a_day = a_day
        # What is in it, and when that was.
        self._buckets: dict[str, tuple[float, int]] = {}

    def take(self, name: str, now_ns: int) -> bool:
        """Take one, where there is one."""
        if self._a_day is None:
            return True
        held, since = self._buckets.get(name, (float(self._a_day), now_ns))
        held = min(held + max(now_ns - since, 0) * self._a_day / _DAY_NS, float(self._a_day))
        if held < 1:
            return False
        self._buckets[name] = (held - 1, now_ns)
        if len(self._buckets) > _MOST:
            self._forget(now_ns)
        return True

    def _forget(self, now_ns: int) -> None:
        """Those that nobody has touched for a day are full."""
        kept = {name: each for name, each in self._buckets.items() if now_ns - each[1] < _DAY_NS}
        self._buckets = kept
