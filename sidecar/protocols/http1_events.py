"""HTTP/1 events: what framers tell, and the limits they keep. Plain values."""

from enum import IntEnum
from typing import Any, Final

MAX_HEAD: Final = 64 << 10
MAX_CHUNK_LINE: Final = 4 << 10


class Kind(IntEnum):
    """What an event tells; the second column is its value."""

    HEAD = 1  # RequestHead or ResponseHead
    DATA = 2  # bytes of the body, without chunk framing
    TRAILERS = 3  # the raw trailer section, with its final empty line
    END = 4  # None: the message is complete
    STOP = 5  # Stop: nothing from here on is followed


class Stop(IntEnum):
    """Why a framer stopped."""

    # Two readers could disagree about where messages begin and end.
    AMBIGUOUS = 1
    # A head, trailer section or chunk line beyond its limit.
    TOO_LARGE = 2
    # After 101, or a 2xx to CONNECT: another protocol begins.
    TUNNEL = 3
    # A response that no request asked for.
    UNEXPECTED = 4


# Kind, value, and the offset in the data fed where the thing ends (for STOP: where unfollowed bytes begin).
Event = tuple[Kind, Any, int]
