"""Spool: appends, leases, acknowledges. Being built; signatures are final."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sidecar.spool.entries import Gap, Spooled, SpoolAccount


class Spool:
    """The ring. Safe to use from any thread; every call may block on the disk."""

    @property
    def spool_id(self) -> bytes:
        """16 bytes; a new one when the spool was made anew or forked, so ask before each connection."""
        raise NotImplementedError

    @classmethod
    def open(cls, directory: Path, quota_bytes: int, ring: bool) -> "Spool":
        """Open or make the spool in `directory`; raises SpoolLocked, SpoolFailed."""
        raise NotImplementedError

    def append(self, records: Sequence[tuple[bytes, bytes]], notes: Mapping[bytes, bytes] = {}) -> range:
        """Append (16-byte lookup key, record) pairs in one transaction; durable on return."""
        raise NotImplementedError

    def note(self, notes: Mapping[bytes, bytes]) -> None:
        """Write notes alone; an empty value deletes one."""
        raise NotImplementedError

    def notes(self) -> dict[bytes, bytes]:
        """All notes."""
        raise NotImplementedError

    def lease(self, after: int, max_entries: int, max_bytes: int) -> list[Spooled | Gap]:
        """Unacknowledged entries beyond sequence `after`, in order; at least one if there is any."""
        raise NotImplementedError

    def ack(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Storage has these, both ends inclusive."""
        raise NotImplementedError

    def rewind(self, received: Sequence[tuple[int, int]]) -> None:
        """Take storage's word for what it has; raises SpoolForked."""
        raise NotImplementedError

    def dead_letter(self, sequence: int, reason: str) -> None:
        """Storage will never take this one; it stays readable until room is needed."""
        raise NotImplementedError

    def find(self, key: bytes) -> Spooled | None:
        """The latest record appended under `key`."""
        raise NotImplementedError

    def get(self, sequence: int) -> Spooled | None:
        """The record, or None where it is gone or damaged."""
        raise NotImplementedError

    def newest_first(self, below: int | None, limit: int) -> list[Spooled]:
        """Records with sequences below `below`, descending."""
        raise NotImplementedError

    def oldest_first(self, above: int, limit: int) -> list[Spooled]:
        """Records with sequences above `above`, ascending."""
        raise NotImplementedError

    def account(self) -> SpoolAccount:
        """The account as of the last commit."""
        raise NotImplementedError

    def check_readers(self) -> int:
        """Free the slots of readers that died; call every minute. Returns how many there were."""
        raise NotImplementedError

    def close(self) -> None:
        """Close; harmless when closed."""
        raise NotImplementedError
