"""Entries: the values that leave the spool. Plain, frozen, no I/O."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spooled:
    """A record in its envelope.

    hash = SHA-256(previous_hash ‖ sequence, 8 bytes big-endian ‖ salt ‖ record).
    """

    sequence: int
    # The 16 bytes it was appended under: the call id.
    key: bytes
    previous_hash: bytes
    hash: bytes
    salt: bytes
    record: bytes

    @property
    def first(self) -> int:
        """First sequence of the entry."""
        return self.sequence

    @property
    def last(self) -> int:
        """Last sequence of the entry."""
        return self.sequence

    @property
    def size(self) -> int:
        """Payload bytes, for limits on batches."""
        return len(self.record)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that storage refused for good, and why. `spooled` is None where it can't be read."""

    sequence: int
    reason: str
    spooled: Spooled | None


@dataclass(frozen=True, slots=True)
class Gap:
    """Sequences, both ends inclusive, that will never be sent, and why; sent in their place."""

    first: int
    last: int
    # Hash of entry `last`, so that the chain goes on; empty where the spool no longer knows it.
    last_hash: bytes
    # "evicted", "corrupt", "expired", "dead_lettered"
    reason: str

    @property
    def size(self) -> int:
        """Payload bytes: none."""
        return 0


@dataclass(frozen=True, slots=True)
class SpoolAccount:
    """Law 4, third line, over all runs, from one transaction; and the state of the disk.

    appended = pending + acked + evicted_unacked + dead_lettered + corrupt + expired, always.
    """

    appended: int
    pending: int
    acked: int
    evicted_unacked: int
    dead_lettered: int
    corrupt: int
    expired: int
    next_sequence: int
    # Hash of the entry before it; zeros where there is none.
    last_hash: bytes
    # Spool files that could not be read and lie beside this one.
    set_aside: int
    # Bytes of pages in use, of at most `quota_bytes`.
    live_bytes: int
    quota_bytes: int
