"""HTTP/2 receiver: what one side takes, by its settings and by which of them hold (RFC 9113, section 6.5).

Pure. Smaller limits are kept from the moment they were sent, larger ones once the other side has acknowledged
them.
"""

from collections.abc import Mapping
from typing import Final

from sidecar.protocols import FIELD_OVERHEAD, HpackDecoder, http2
from sidecar.tap.http2_floods import SETTINGS_FLOOD, FloodError
from sidecar.tap.request_id import HEADER

NO_LIMIT: Final = 1 << 62
# Settings sent and not acknowledged; peers that work have one or two.
_MOST_IN_FLIGHT: Final = 64


class Receiver:
    """One side's limits on what is sent to it."""

    __slots__ = ("_in_flight", "frame_most", "has_spoken", "list_most")

    def __init__(self) -> None:
        # Sent, and not acknowledged by the other side yet.
        self._in_flight: list[Mapping[int, int]] = []
        # Its first SETTINGS have passed: before, a server may send nothing else (section 3.4).
        self.has_spoken = False
        # Bytes of a frame's payload, and of a header list (section 6.5.2).
        self.frame_most = http2.DEFAULT_FRAME_BYTES
        self.list_most = NO_LIMIT

    def announce(self, settings: Mapping[int, int]) -> None:
        """The side has sent `settings`. Raises FloodError where too many wait for an acknowledgement."""
        if len(self._in_flight) >= _MOST_IN_FLIGHT:
            raise FloodError(SETTINGS_FLOOD)
        self.has_spoken = True
        self._in_flight.append(settings)
        self._lower(settings)

    def _lower(self, settings: Mapping[int, int]) -> None:
        self.frame_most = min(self.frame_most, settings.get(http2.MAX_FRAME_SIZE, self.frame_most))
        self.list_most = min(self.list_most, settings.get(http2.MAX_HEADER_LIST_SIZE, self.list_most))

    def acknowledged(self, decoder: HpackDecoder) -> None:
        """The other side has acknowledged the oldest settings; `decoder` decodes what it sends."""
        if not self._in_flight:
            return
        settings = self._in_flight.pop(0)
        self.frame_most = settings.get(http2.MAX_FRAME_SIZE, self.frame_most)
        self.list_most = settings.get(http2.MAX_HEADER_LIST_SIZE, self.list_most)
        for later in self._in_flight:
            self._lower(later)
        if http2.HEADER_TABLE_SIZE in settings:
            decoder.allow_table(settings[http2.HEADER_TABLE_SIZE])

    def exceeds_list(self, fields: list[tuple[bytes, bytes]], added: bytes) -> bool:
        """Whether it would find the list of `fields` too large with the request id `added` in it."""
        size = sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in fields)
        return size + len(HEADER) + len(added) + FIELD_OVERHEAD > self.list_most
