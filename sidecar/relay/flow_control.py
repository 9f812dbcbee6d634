"""Flow control: a side that can't be written to stops the reading of the other. Backpressure, nothing else.

Touches transports only. It promises that what waits in this process for peers that do not read is bounded:
HIGH_WATER_BYTES and one read (at most 256,000 bytes in uvloop) for each direction of a connection; and once
so many are stalled that UNSENT_BYTES may be used up, SCARCE_BYTES and one small read for each more.
"""

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.relay.side import Side

# One read of uvloop fits below the mark: a write of it that succeeds at once stops nothing.
HIGH_WATER_BYTES: Final = 256 << 10
LOW_WATER_BYTES: Final = 64 << 10

# What may wait unsent before connections are read in small pieces.
UNSENT_BYTES: Final = 64 << 20
STALLED_MAX: Final = UNSENT_BYTES // (2 * HIGH_WATER_BYTES)
SCARCE_BYTES: Final = 16 << 10
_SMALL_READ_BYTES: Final = 16 << 10


def limit_unsent(transport: asyncio.WriteTransport, high: int = HIGH_WATER_BYTES) -> None:
    """Make `transport` call pause_writing and resume_writing of its protocol at our marks."""
    transport.set_write_buffer_limits(high=high, low=min(LOW_WATER_BYTES, high // 4))


def hold(reader: asyncio.ReadTransport | None) -> None:
    """Read nothing more from `reader` until `release`."""
    if reader is not None and not reader.is_closing():
        reader.pause_reading()


def release(reader: asyncio.ReadTransport | None) -> None:
    """Read from `reader` again."""
    if reader is not None and not reader.is_closing():
        reader.resume_reading()


class SmallReads(asyncio.BufferedProtocol):
    """What the loop calls instead of a side that is to be read in small pieces."""

    __slots__ = ("_side",)

    # Filled and emptied in one turn, so one for all.
    _buffer: Final = memoryview(bytearray(_SMALL_READ_BYTES))

    def __init__(self, side: "Side") -> None:
        self._side = side

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Where the loop reads to."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So much has been read."""
        self._side.data_received(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> bool:
        return self._side.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._side.connection_lost(exc)

    def pause_writing(self) -> None:
        self._side.pause_writing()

    def resume_writing(self) -> None:
        self._side.resume_writing()
