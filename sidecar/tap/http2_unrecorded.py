"""HTTP/2 streams without a record: paths that are never recorded, and calls that were shed.

Pure. Of such a stream only its state is kept, and of all of them together how much they carried.
"""

from typing import Final

from sidecar.tap.http2_floods import FloodError

TOO_MANY: Final = "too_many_open_streams"
REQUEST_ENDED: Final = 1
RESPONSE_ENDED: Final = 2
_BOTH_ENDED: Final = REQUEST_ENDED | RESPONSE_ENDED
# So many may be open in one connection.
_MOST: Final = 12_000
# Bytes of a body that are worth a piece, for the budgets of floods: as a power of two.
PIECE_SHIFT: Final = 11


class Unrecorded:
    """The streams of one connection that are open and have no record."""

    __slots__ = ("_ended", "pieces")

    def __init__(self) -> None:
        # Which sides of each have ended.
        self._ended: dict[int, int] = {}
        # Pieces of bodies that passed, with those of streams that are over.
        self.pieces = 0

    def __len__(self) -> int:
        return len(self._ended)

    def __contains__(self, number: int) -> bool:
        return number in self._ended

    def add(self, number: int, ended: int) -> None:
        """One more, of which these sides have ended. Raises FloodError where there are too many."""
        self._ended[number] = ended
        if len(self._ended) > _MOST:
            raise FloodError(TOO_MANY)

    def data(self, number: int, piece: bytes, ended: int) -> None:
        """A piece of a body, of one of these or of a stream that is over; `ended` is the side that ends."""
        self.pieces += 1 + (len(piece) >> PIECE_SHIFT)
        if ended and number in self._ended:
            self._ended[number] |= ended
            if self._ended[number] == _BOTH_ENDED:
                del self._ended[number]

    def reset(self, number: int) -> bool:
        """Forget the stream; whether it was open."""
        return self._ended.pop(number, None) is not None

    def clear(self) -> None:
        """Forget all."""
        self._ended.clear()
