"""Call ids: a UUIDv7 (RFC 9562, section 5.7) for each call, from what identifies it and nothing else.

Made here and not on the hot path. The same call always gets the same id, so a record that is converted twice
is recognised.

    48 bits  start of the call, milliseconds since the epoch
     4 bits  version 7
    12 bits  fraction of that millisecond
     2 bits  variant
    62 bits  hash of run id, slot and call number
"""

from hashlib import blake2b
from typing import Final

_MILLISECOND: Final = 1_000_000


class CallIds:
    """Makes the ids of one run's calls."""

    def __init__(self, run_id: bytes) -> None:
        self._run_id = run_id

    def of(self, slot: int, call_number: int, started_wall_ns: int) -> bytes:
        """16 bytes for the call; ids of later calls are greater, to about a quarter microsecond."""
        named = self._run_id + slot.to_bytes(4, "big") + (call_number & _U64).to_bytes(8, "big")
        tail = int.from_bytes(blake2b(named, digest_size=8).digest(), "big") & ((1 << 62) - 1)
        milliseconds, rest = divmod(max(started_wall_ns, 0), _MILLISECOND)
        fraction = (rest << 12) // _MILLISECOND
        high = (milliseconds & ((1 << 48) - 1)) << 16 | 7 << 12 | fraction
        return ((high << 64) | (2 << 62) | tail).to_bytes(16, "big")


_U64: Final = (1 << 64) - 1


def text_of(call_id: bytes) -> str:
    """The id as people write it."""
    digits = call_id.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
