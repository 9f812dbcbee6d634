"""Capture: how much of the bodies is kept in memory, by body and in all.

Pure. It promises that captured bytes never exceed the body limit for each body and the budget for all open
and queued calls of the process (law 5); that the true size of a body is always counted; and that a cut is
marked: `captured < size`, and the flag "capture_budget_spent" where the budget was the reason.

Who holds an exchange's bytes last gives them back: the ledger for calls that are not kept, the hand-off for
the others, once they are sent or refused.
"""

from typing import Final

from sidecar.exchange import PIECE_TIMES, Body, Exchange

BUDGET_SPENT: Final = "capture_budget_spent"

# What one kept time weighs in memory: a tuple of two integers.
PIECE_TIME_BYTES: Final = 128
# Pieces smaller than this are joined to the one before, until that has a page: small objects weigh more than
# they hold.
_SMALL_PIECE: Final = 256
_JOINED_PIECE: Final = 4096


class CaptureBudget:
    """What all captured bodies of one process hold, and may hold."""

    __slots__ = ("_body_limit", "_limit", "cut", "used")

    def __init__(self, limit_bytes: int, body_limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._body_limit = body_limit_bytes
        self.used = 0
        # Bodies cut so far, for either reason.
        self.cut = 0

    def capture(self, call: Exchange, body: Body, piece: bytes) -> None:
        """Keep a non-empty `piece` of `body`, which belongs to `call`, as far as it may be kept."""
        size = body.size
        length = len(piece)
        body.size = size + length
        if body.captured != size:  # already cut: what follows a hole is of no use
            return
        if size + length > self._body_limit or self.used + length > self._limit:
            piece = self._cut(call, piece, size)
            length = len(piece)
            if not length:
                return
        body.captured = size + length
        self.used += length
        pieces = body.captured_pieces
        if length < _SMALL_PIECE and pieces and len(pieces[-1]) < _JOINED_PIECE:
            pieces[-1] += piece
        else:
            pieces.append(piece)

    def capture_timed(self, call: Exchange, body: Body, piece: bytes, now: int) -> None:
        """The same, and keep the time: for responses."""
        body.piece_count += 1
        times = body.piece_times
        if len(times) < PIECE_TIMES and self.used + PIECE_TIME_BYTES <= self._limit:
            times.append((now, len(piece)))
            self.used += PIECE_TIME_BYTES
        self.capture(call, body, piece)

    def give_back(self, size: int, /) -> None:
        """`size` captured bytes are no longer held."""
        self.used -= size

    def release(self, call: Exchange) -> None:
        """What `call` captured is no longer held."""
        self.used -= call.request.captured + call.response.captured

    def release_times(self, call: Exchange) -> None:
        """`call` is no longer open: its piece times are bounded by the queue it goes to."""
        self.used -= PIECE_TIME_BYTES * (len(call.request.piece_times) + len(call.response.piece_times))

    def _cut(self, call: Exchange, piece: bytes, size: int) -> bytes:
        self.cut += 1
        room = self._limit - self.used
        if room < min(len(piece), self._body_limit - size) and BUDGET_SPENT not in call.flags:
            call.flags.append(BUDGET_SPENT)
        return piece[: max(0, min(room, self._body_limit - size))]
