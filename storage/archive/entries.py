"""Entries: the values that go into an archive and come out of it. Plain, frozen."""

import struct
from dataclasses import dataclass
from typing import Final

from infertap import v1
from infertap.query import InvalidArgumentError

_POSITION: Final = struct.Struct(">qq16sQ")
POSITION_BYTES: Final = _POSITION.size


@dataclass(frozen=True, slots=True)
class RecordEntry:
    """A record in its envelope, checked; `record` is encoded, and `parsed` is what it says.

    `tenant` is whose it is, by the identity that sent it; empty where storage knows no identities.
    """

    spool_id: bytes
    sequence: int
    previous_hash: bytes
    hash: bytes
    salt: bytes
    record: bytes
    parsed: v1.Record
    tenant: str = ""

    @property
    def first(self) -> int:
        return self.sequence

    @property
    def last(self) -> int:
        return self.sequence


@dataclass(frozen=True, slots=True)
class GapEntry:
    """Sequences, both ends inclusive, of which the spool says that they will never come."""

    spool_id: bytes
    first: int
    last: int
    last_hash: bytes
    reason: str
    tenant: str = ""


Entry = RecordEntry | GapEntry


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a record stands among all, in either direction; (spool id, sequence) is unique.

    Packed: order value, start (signed, 8 bytes each), spool id (16), sequence (8), big-endian.
    """

    # What the list is ordered by (infertap.query.Order.value_of); the start once more where by that.
    order_value: int
    start_ns: int
    spool_id: bytes
    sequence: int

    def pack(self) -> bytes:
        """POSITION_BYTES, for a page token."""
        return _POSITION.pack(self.order_value, self.start_ns, self.spool_id, self.sequence)

    @classmethod
    def unpack(cls, packed: bytes) -> "Position":
        """The inverse of `pack`; raises InvalidArgumentError for what no archive has (a forged token)."""
        position = cls(*_POSITION.unpack(packed))
        if position.sequence >= 1 << 63:
            raise InvalidArgumentError("page_token", "not a token of this service")
        return position


@dataclass(frozen=True, slots=True, order=True)
class Arrival:
    """Where a record stands in order of storing. With a time alone: before all that was stored then.

    Packed: when it was stored (signed, 8 bytes), spool id (16, or none), sequence (8), big-endian.
    """

    # Nanoseconds since the epoch.
    stored_ns: int
    spool_id: bytes = b""
    sequence: int = 0

    def pack(self) -> bytes:
        """For a note."""
        ends = self.stored_ns.to_bytes(8, "big", signed=True), self.sequence.to_bytes(8, "big")
        return self.spool_id.join(ends)

    @classmethod
    def unpack(cls, packed: bytes) -> "Arrival":
        """The inverse of `pack`."""
        stored_ns = int.from_bytes(packed[:8], "big", signed=True)
        return cls(stored_ns, packed[8:-8], int.from_bytes(packed[-8:], "big"))


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as the archive has it."""

    position: Position
    record: bytes
    # Nanoseconds since the epoch.
    stored_ns: int
    tenant: str = ""

    @property
    def arrival(self) -> Arrival:
        """Where it stands in order of storing."""
        return Arrival(self.stored_ns, self.position.spool_id, self.position.sequence)

    def served(self) -> v1.Record:
        """The record, with what only its server knows."""
        record = v1.Record.FromString(self.record)
        record.sequence = self.position.sequence
        record.spool_id = self.position.spool_id
        record.stored_at.FromNanoseconds(self.stored_ns)
        record.ClearField("feedback")  # only the archive's own is joined to it
        record.ClearField("feedback_count")
        record.tenant = self.tenant
        return record


@dataclass(frozen=True, slots=True)
class FeedbackPage:
    """Feedback, latest received first; the next page begins below `after`, None where none follows."""

    feedback: list[v1.Feedback]
    after: int | None


@dataclass(frozen=True, slots=True)
class Page:
    """Records that match, in the order asked for; `after` is where the next page begins, None for nowhere."""

    records: list[v1.Record]
    after: Position | None
