"""Removals: what an archive lets go of, what it keeps instead, and what it takes up. Plain, frozen values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from storage.archive.ranges import Range

# Reasons of tombstones.
BY_REQUEST = "request"
BY_AGE = "age"
BY_SIZE = "size"


@dataclass(frozen=True, slots=True)
class ModelRule:
    """A limit for the records of some models."""

    # A model's name, its beginning where it ends with "*", or "*" for all that no other rule names.
    model: str
    # Nanoseconds for ages, bytes of encoded records for sizes.
    most: int

    def names(self, model: str) -> bool:
        """Whether it is the rule for records of `model`."""
        return model.startswith(self.model[:-1]) if self.model.endswith("*") else model == self.model


@dataclass(frozen=True, slots=True)
class Retention:
    """How long records are kept, and how many; of several rules the first that names a model counts."""

    # Since the record was stored.
    ages: tuple[ModelRule, ...] = ()
    # All records that a rule is for, together; the earliest stored go first.
    sizes: tuple[ModelRule, ...] = ()
    # Everything that the archive has on disk, its logs and drafts too; None for no limit.
    disk_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Expired:
    """What one step of retention did."""

    records: int = 0
    # On disk.
    freed_bytes: int = 0
    # Whether another step would find more to do.
    is_more: bool = False
    # Whether less is received than before: a file that can't be read was set aside.
    has_forgotten: bool = False


@dataclass(frozen=True, slots=True)
class Matched:
    """What a query would delete."""

    records: int = 0
    # Of encoded records.
    record_bytes: int = 0
    feedback: int = 0


@dataclass(frozen=True, slots=True)
class Deletion:
    """What was deleted. Spools are told of `spools`, so that they drop what they retain."""

    records: int = 0
    feedback: int = 0
    spools: Mapping[bytes, Sequence[Range]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What stays of a record that was deleted: enough for its chain and its tree to be checked."""

    tenant: str
    spool_id: bytes
    sequence: int
    previous_hash: bytes
    hash: bytes
    # One of the reasons above.
    reason: str
    # Nanoseconds since the epoch.
    deleted_ns: int


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that could not be read, and was set aside."""

    # As it was called; where it lies now.
    name: str
    kept_as: str
    found_ns: int
    # What the engine said, without any of the file's content.
    why: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What the archive takes on disk, everything included."""

    disk_bytes: int
    # Of records.
    files: int
    damaged_files: int


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """One file of a snapshot: what it is called in an archive's directory, and where it can be read."""

    name: str
    path: Path
    size_bytes: int
