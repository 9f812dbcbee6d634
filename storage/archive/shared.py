"""Shared: what an engine can do besides, that several storage processes write to at once."""

from collections.abc import Collection, Container, Mapping, Sequence
from typing import Protocol, runtime_checkable

from storage.archive.entries import Stored
from storage.archive.ranges import Range


@runtime_checkable
class SharedArchive(Protocol):
    """An archive into which others write too."""

    def arrived(self, since_ns: int, known: Container[tuple[bytes, int]], most: int) -> list[Stored]:
        """At most so many records that were stored at `since_ns` or later, by whichever process, and whose
        (spool id, sequence) is not `known`; earliest stored first. Raises ArchiveError.
        """

    def deleted_since(self, since_ns: int, spool_ids: Collection[bytes]) -> Mapping[bytes, Sequence[Range]]:
        """Sequences of these spools that were deleted on request since then, by whichever process. Raises
        ArchiveError.
        """
