"""Refused: what a server says of the calls that it refuses: counts of all, and some lines in its log.

It promises: each (method, reason) has at most one line in LINE_SECONDS, which tells how many it stands for;
no line quotes what the caller showed.
"""

from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from infertap.identity.changing import Say
from infertap.identity.roster import Refusal

LINE_SECONDS: Final = 10.0


class RefusedCalls:
    """The refused calls of one process. `clock` tells seconds."""

    def __init__(self, count: Callable[[str, str], None], say: Say, clock: Callable[[], float]) -> None:
        """`count` is called with the method's name and the reason of each."""
        self._count = count
        self._say = say
        self._clock = clock
        # When the next line is due, and how many calls have had none. Methods are those that a server has.
        self._quiet: dict[tuple[str, Refusal], tuple[float, int]] = {}

    def refused(self, method: str, reason: Refusal, peer: str, name: str) -> None:
        """A call was refused; `name` is the identity's, empty where it is not known."""
        self._count(method, reason.value)
        due, untold = self._quiet.get((method, reason), (0.0, 0))
        now = self._clock()
        if now < due:
            self._quiet[method, reason] = (due, untold + 1)
            return
        self._quiet[method, reason] = (now + LINE_SECONDS, 0)
        self._say(
            "call refused",
            method=method,
            reason=reason.value,
            peer=unquote(peer),
            identity=name,
            untold=untold,
        )
