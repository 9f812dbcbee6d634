"""Flow control: a side that can't be written to stops the reading of the other. Backpressure, nothing else.

Touches transports only. It promises that what waits in this process for a peer that does not read is bounded:
HIGH_WATER_BYTES and one read (at most 256,000 bytes in uvloop) for each direction of a connection.
"""

import asyncio
from typing import Final

# One read of uvloop fits below the mark: a write of it that succeeds at once stops nothing.
HIGH_WATER_BYTES: Final = 256 << 10
LOW_WATER_BYTES: Final = 64 << 10


def limit_unsent(transport: asyncio.WriteTransport) -> None:
    """Make `transport` call pause_writing and resume_writing of its protocol at our marks."""
    transport.set_write_buffer_limits(high=HIGH_WATER_BYTES, low=LOW_WATER_BYTES)


def hold(reader: asyncio.ReadTransport | None) -> None:
    """Read nothing more from `reader` until `release`."""
    if reader is not None and not reader.is_closing():
        reader.pause_reading()


def release(reader: asyncio.ReadTransport | None) -> None:
    """Read from `reader` again."""
    if reader is not None and not reader.is_closing():
        reader.resume_reading()
