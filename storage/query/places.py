"""Places: where a list goes on, and as of when it is; what the tokens of storage hold. Pure.

as of, nanoseconds since the epoch, 8 bytes big-endian | storage.archive.Position
"""

import struct
from dataclasses import dataclass
from typing import Final

from infertap.query import InvalidArgumentError
from storage.archive import POSITION_BYTES, Position

_AS_OF: Final = struct.Struct(">Q")
PLACE_BYTES: Final = _AS_OF.size + POSITION_BYTES


@dataclass(frozen=True, slots=True)
class Place:
    """Where a list goes on; None where it begins."""

    as_of_ns: int
    after: Position | None = None

    def pack(self) -> bytes:
        """PLACE_BYTES, for a token; only of a list that has begun."""
        assert self.after is not None
        return _AS_OF.pack(self.as_of_ns) + self.after.pack()

    @classmethod
    def unpack(cls, packed: bytes | None, now_ns: int, field: str = "page_token") -> "Place":
        """The inverse of `pack`; where nothing was packed a list as of now. Raises InvalidArgumentError."""
        if packed is None:
            return cls(now_ns)
        (as_of_ns,) = _AS_OF.unpack_from(packed)
        if as_of_ns >= 1 << 63:
            raise InvalidArgumentError(field, "not a token of this service")
        try:
            return cls(as_of_ns, Position.unpack(packed[_AS_OF.size :]))
        except InvalidArgumentError as error:
            raise InvalidArgumentError(field, error.why) from None
