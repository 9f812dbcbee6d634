"""Request ids: making them, and judging the caller's.

Pure: randomness is an argument.
"""

import re
from collections.abc import Callable
from typing import Final

HEADER: Final = b"x-request-id"
MAX_CLIENT_ID: Final = 128

_USABLE: Final = re.compile(rb"[\x21-\x7e]{1,128}").fullmatch


class RequestIds:
    """Makes ids that look like random UUIDs: 62 random bits for each process, then a 48-bit counter."""

    __slots__ = ("_count", "_prefix")

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        seed = random_bytes(16)
        digits = seed.hex()
        variant = "89ab"[seed[8] & 3]
        self._prefix = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-".encode()
        # Starts anywhere in the lower half, so that it never runs out.
        self._count = int.from_bytes(seed[10:], "big") >> 1

    def new(self) -> bytes:
        """A fresh id, 36 characters."""
        self._count = count = self._count + 1
        return b"%s%012x" % (self._prefix, count)


def is_usable(value: bytes) -> bool:
    """Whether a caller's id can be the call's: 1 to 128 visible ASCII characters."""
    return _USABLE(value) is not None
