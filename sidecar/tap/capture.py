"""Capture: how much of the bodies is kept in memory, by body and in all.

Pure. It promises that captured bytes never exceed the body limit for each body and the budget for all open
and queued calls of the process (law 5); that the true size of a body is always counted; and that a cut is
marked: `captured < size`, and the flag "capture_budget_spent" where the budget was the reason.

Of a body that is longer than its limit two parts are kept:

    |<---- head, 3/4 of the limit ---->|        hole        |<- tail, half of 1/4 to 1/4 ->|

The tail is a ring of the latest pieces: usage, finish reasons and late errors come at the end. Where the
budget is spent the hole begins sooner, and the tail holds what came since there was room again.

Who holds an exchange's bytes last gives them back: the ledger for calls that are not kept, the hand-off for
the others, once they are sent or refused.
"""

from collections import deque
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

    __slots__ = ("_head_limit", "_limit", "_tail_limit", "cut", "used")

    def __init__(self, limit_bytes: int, body_limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._tail_limit = body_limit_bytes // 4
        self._head_limit = body_limit_bytes - self._tail_limit
        self.used = 0
        # Bodies cut so far, for either reason.
        self.cut = 0

    def capture(self, call: Exchange, body: Body, piece: bytes) -> None:
        """Keep a non-empty `piece` of `body`, which belongs to `call`, as far as it may be kept."""
        size = body.size
        length = len(piece)
        body.size = after = size + length
        if body.captured != size or after > self._head_limit or self.used + length > self._limit:
            self._capture_beyond(call, body, piece, size)
            return
        body.captured = after
        self.used += length
        pieces = body.captured_pieces
        if length < _SMALL_PIECE and pieces and len(pieces[-1]) < _JOINED_PIECE:
            pieces[-1] += piece
        else:
            pieces.append(piece)

    def capture_timed(self, call: Exchange, body: Body, piece: bytes, now: int) -> None:
        """The same, and keep the time: for responses."""
        length = len(piece)
        if (
            not body.size
            and length <= self._head_limit
            and self.used + length + PIECE_TIME_BYTES <= self._limit
        ):
            # The first piece, and often the only one: what is below, in one step.
            body.captured = body.size = length
            body.captured_pieces.append(piece)
            body.piece_count = 1
            body.piece_times.append((now, length))
            self.used += length + PIECE_TIME_BYTES
            return
        body.piece_count += 1
        times = body.piece_times
        if len(times) < PIECE_TIMES and self.used + PIECE_TIME_BYTES <= self._limit:
            times.append((now, length))
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

    # -- beyond the head, or beyond the budget

    def _capture_beyond(self, call: Exchange, body: Body, piece: bytes, size: int) -> None:
        was_whole = body.captured == size
        if was_whole and not body.tail:
            piece = self._end_head(body, piece, size)
        if piece:
            self._extend_tail(call, body, piece)
        if was_whole and body.captured != body.size:
            self.cut += 1

    def _end_head(self, body: Body, piece: bytes, size: int) -> bytes:
        """Fill the head; what of `piece` has no place there."""
        room = min(self._head_limit - size, self._limit - self.used)
        if room > 0:
            kept = piece[:room]
            body.captured_pieces.append(kept)
            body.captured += len(kept)
            self.used += len(kept)
            piece = piece[room:]
        return piece

    def _extend_tail(self, call: Exchange, body: Body, piece: bytes) -> None:
        most = self._tail_limit
        length = len(piece)
        if length > most:
            piece = piece[length - most :]
            length = most
        pieces = body.tail_pieces
        if pieces is None:
            pieces = body.tail_pieces = deque()
        if self.used + length - body.tail > self._limit:  # what it would push out is not enough
            self._drop_tail(body, pieces)
            if BUDGET_SPENT not in call.flags:
                call.flags = [*call.flags, BUDGET_SPENT]
            return
        if length < _SMALL_PIECE and pieces and len(pieces[-1]) < _JOINED_PIECE:
            pieces[-1] += piece
        elif length:
            pieces.append(piece)
        self._hold(body, length)
        while body.tail > most or self.used > self._limit:
            self._shorten_tail(body, pieces)

    def _shorten_tail(self, body: Body, pieces: "deque[bytes]") -> None:
        """Drop the oldest piece; of one that is large so much stays that half of the limit is kept."""
        oldest = pieces.popleft()
        self._hold(body, -len(oldest))
        wanted = self._tail_limit // 2 - body.tail
        if wanted > 0 and self.used + wanted <= self._limit:
            kept = oldest[-wanted:]
            pieces.appendleft(kept)
            self._hold(body, len(kept))

    def _drop_tail(self, body: Body, pieces: "deque[bytes]") -> None:
        pieces.clear()
        self._hold(body, -body.tail)

    def _hold(self, body: Body, length: int) -> None:
        body.tail += length
        body.captured += length
        self.used += length


def last_bytes(body: Body, most: int) -> bytes:
    """The last bytes of `body`, `most` where so many are kept in a row; b"" where its end is not."""
    pieces: list[bytes] = []
    size = 0
    kept = list(body.tail_pieces or ())
    if body.captured == body.size:
        kept = body.captured_pieces + kept
    for piece in reversed(kept):
        pieces.append(piece)
        size += len(piece)
        if size >= most:
            break
    return b"".join(reversed(pieces))[-most:]
