"""Shared: what an engine can do besides, that several storage processes write to at once."""

from collections.abc import Container
from typing import Protocol, runtime_checkable

from storage.archive.entries import Stored


@runtime_checkable
class SharedArchive(Protocol):
    """An archive into which others write too."""

    def arrived(self, since_ns: int, known: Container[tuple[bytes, int]], most: int) -> list[Stored]:
        """At most so many records that were stored at `since_ns` or later, by whichever process, and whose
        (spool id, sequence) is not `known`; earliest stored first. Raises ArchiveError.
        """
