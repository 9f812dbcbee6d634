"""Interface: what the audit asks of an archive's engine. All may block, and are safe from any thread."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from infertap.verification import Leaf, LoggedEntry, LogId


@dataclass(frozen=True, slots=True)
class LogSize:
    """A log that is in the archive: how many leaves it has, and where, in the engine's own words."""

    log: LogId
    size: int
    part: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A leaf and where it stands."""

    log: LogId
    index: int
    leaf: Leaf


class AuditArchive(Protocol):
    """Leaves beside the records, and notes: values under keys, by kind. All raise ArchiveError."""

    def put(self, kind: str, notes: Mapping[bytes, bytes]) -> None:
        """Keep a value for each key, in place of an earlier one; all or none, durable on return. An empty
        value forgets the key.
        """

    def notes(self, kind: str, after: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """At most so many, by ascending key, beyond `after`."""

    def latest_notes(self, kind: str, below: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """At most so many, by descending key, below `below`; empty: from the last."""

    def logs(self) -> list[LogSize]:
        """All logs whose leaves are here, by day, tenant and name."""

    def leaves(self, log: LogSize, first: int, most: int) -> list[Leaf]:
        """Leaves of a log from index `first`."""

    def entries(self, log: LogSize, first: int, most: int) -> list[LoggedEntry]:
        """The same with their records or tombstones. A leaf comes more than once where the archive holds more
        than one row for it, which nobody should have written.
        """

    def unlogged(self, after: tuple[bytes, int], most: int) -> list[tuple[str, LoggedEntry]]:
        """Records that no leaf tells of, with their tenants, beyond that (spool id, sequence)."""

    def places(self, spool_id: bytes, sequence: int) -> list[Place]:
        """All leaves that tell of that sequence."""

    def hashes(self, spool_id: bytes, first: int, last: int) -> dict[int, bytes]:
        """The hash of each record and gap that ends at a sequence of `first` to `last`."""

    def sequences_of(self, call_id: str) -> list[tuple[str, bytes, int]]:
        """Tenant, spool id and sequence of a call's records."""
