"""HTTP/2 floods: how many frames that carry no call one connection may send before the tap gives up on it.

Pure: time is an argument. Such frames cost their sender nothing and every reader time: resets
(CVE-2023-44487, rapid reset; CVE-2025-8671, where the server is made to reset), PING, SETTINGS, PRIORITY,
WINDOW_UPDATE, frames that are empty, or of no known kind. Those that do their work come with calls, bytes and
time, so budgets are filled from these: a client that cancels every other call, or acknowledges each piece of
a body, floods nobody. Spending costs a subtraction; only an empty budget asks what it may be filled with.
"""

from typing import Final, Protocol

from sidecar.protocols import http2

# Frames at once; then what comes with time, with each stream, and with what streams carry.
_FRAMES: Final = 2000
_FRAMES_PER_SECOND: Final = 200
_FRAMES_PER_STREAM: Final = 16
_FRAMES_PER_PIECE: Final = 8
# Resets at once; with time; and one for so many streams: who hedges cancels every second one.
_RESETS: Final = 1000
_RESETS_PER_SECOND: Final = 100
_STREAMS_PER_RESET: Final = 2
# What budgets are filled to at most.
_MOST: Final = 10_000
_SECOND: Final = 1_000_000_000

RESET_FLOOD: Final = "reset_flood"
EMPTY_DATA_FLOOD: Final = "empty_data_flood"
HEADERS_FLOOD: Final = "headers_flood"
CONTINUATION_FLOOD: Final = "continuation_flood"
SETTINGS_FLOOD: Final = "settings_flood"
_UNKNOWN_FLOOD: Final = "unknown_frame_flood"
_OF_KIND: Final = {
    http2.PRIORITY: "priority_flood",
    http2.RST_STREAM: RESET_FLOOD,
    http2.SETTINGS: SETTINGS_FLOOD,
    http2.PING: "ping_flood",
    http2.GOAWAY: "goaway_flood",
    http2.WINDOW_UPDATE: "window_update_flood",
}
# Every flag that a flood can have.
FLAGS: Final = frozenset(
    (EMPTY_DATA_FLOOD, HEADERS_FLOOD, CONTINUATION_FLOOD, _UNKNOWN_FLOOD, *_OF_KIND.values())
)


class FloodError(Exception):
    """A budget of the connection is spent: it can't be followed at a fair price. `flag` says which."""

    def __init__(self, flag: str) -> None:
        super().__init__(flag)
        self.flag = flag


class Work(Protocol):
    """What a connection has done, that frames without a call come with."""

    @property
    def opened(self) -> int:
        """Streams opened so far."""

    def carried(self) -> int:
        """Pieces of bodies that the open streams have carried so far, in both directions."""


class Floods:
    """The budgets of one connection, for both directions together."""

    __slots__ = ("_frames", "_resets")

    def __init__(self, now: int) -> None:
        """`now` is when the connection began."""
        self._frames = _Budget(_FRAMES, _FRAMES_PER_SECOND, now)
        self._resets = _Budget(_RESETS, _RESETS_PER_SECOND, now)

    def frame(self, kind: int, work: Work, now: int) -> None:
        """A frame of that kind has passed. Raises FloodError."""
        budget = self._frames
        budget.left -= 1
        if budget.left < 0:
            self.frames(0, _OF_KIND.get(kind, _UNKNOWN_FLOOD), work, now)

    def frames(self, count: int, flag: str, work: Work, now: int) -> None:
        """`count` frames have passed, a flood of which is called `flag`. Raises FloodError."""
        budget = self._frames
        budget.left -= count
        if budget.left < 0 and not budget.fill(
            work.opened * _FRAMES_PER_STREAM, work.carried() * _FRAMES_PER_PIECE, now
        ):
            raise FloodError(flag)

    def reset(self, work: Work, now: int) -> None:
        """A stream was reset before it was answered. Raises FloodError."""
        budget = self._resets
        budget.left -= 1
        if budget.left < 0 and not budget.fill(work.opened // _STREAMS_PER_RESET, 0, now):
            raise FloodError(RESET_FLOOD)


class _Budget:
    """What is left to spend, and when and at how much work it was filled."""

    __slots__ = ("_carried", "_filled", "_opened", "_per_second", "left")

    def __init__(self, left: int, per_second: int, now: int) -> None:
        self.left = left
        self._per_second = per_second
        self._filled = now
        self._opened = self._carried = 0

    def fill(self, opened: int, carried: int, now: int) -> bool:
        """Add what time and work have earned since; whether it is above zero then.

        `opened` only grows; `carried` falls when streams end, which takes nothing away.
        """
        by_time = (now - self._filled) * self._per_second // _SECOND
        by_work = opened - self._opened + max(carried - self._carried, 0)
        self.left = min(self.left + by_time + by_work, _MOST)
        self._filled, self._opened, self._carried = now, opened, carried
        return self.left >= 0
