"""Rests: what a segment of a stream ends with and the next goes on from: a begun event, line or message.

Raw bytes, kept in memory only (law 3), of MOST streams at most. What is forgotten costs the stream one event.
"""

import re
from collections import OrderedDict
from typing import Final

from sidecar.recorder.read_body import WireSide

MOST: Final = 512
_MOST_BYTES: Final = 32 << 10
_PREFIX_BYTES: Final = 5
_EVENT_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class Rests:
    """The rests of streams that go on."""

    def __init__(self) -> None:
        # By call and direction: the segment that goes on from it.
        self._waiting: OrderedDict[tuple[bytes, bool], tuple[int, bytes]] = OrderedDict()

    def keep(self, side: WireSide, rest: bytes) -> None:
        """`side` ends with `rest`, and goes on in another segment."""
        if side.key and len(rest) <= _MOST_BYTES:
            self._waiting[side.key, side.is_request] = side.call.segment + 1, rest
            while len(self._waiting) > MOST:
                self._waiting.popitem(last=False)

    def take(self, side: WireSide) -> bytes | None:
        """What comes before the first byte of `side`; None where that is not known."""
        segment, rest = self._waiting.pop((side.key, side.is_request), (0, b""))
        return rest if segment and segment == side.call.segment else None


def rest_of_events(data: bytes) -> bytes:
    """What follows the last event that is whole."""
    end = 0
    for match in _EVENT_END.finditer(data):
        end = match.end()
    return data[end:]


def rest_of_lines(data: bytes) -> bytes:
    """What follows the last line that is whole."""
    return data[data.rfind(b"\n") + 1 :]


def rest_of_messages(data: bytes) -> bytes:
    """What follows the last message of gRPC that is whole."""
    place = 0
    while place + _PREFIX_BYTES <= len(data):
        end = place + _PREFIX_BYTES + int.from_bytes(data[place + 1 : place + _PREFIX_BYTES], "big")
        if end > len(data):
            break
        place = end
    return data[place:]
