"""Changing: what is made of files, and made anew when they change.

Touches the files. It promises: what can't be read, or is no good, leaves the last good one in use, and is
said once; files that change together (a mounted Secret is one link that is swapped) are never mixed.
"""

import os
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from infertap.setting_files import UnusableFileError

T = TypeVar("T")
# Modification time, inode and size of each file.
_Version = tuple[tuple[int, int, int], ...]
_TRIES: Final = 3


class Say(Protocol):
    """How this room tells what happened: an event log."""

    def __call__(self, event: str, **facts: object) -> None:
        """Write one event."""


class Changing(Generic[T]):
    """What `make` makes of `paths`. One thread at a time may `look`; any may read `current`."""

    def __init__(self, what: str, paths: Sequence[str], make: Callable[[], T], say: Say) -> None:
        """`what` names it in events. Raises UnusableFileError."""
        self._what = what
        self._paths = tuple(paths)
        self._make = make
        self._say = say
        self._version, self._current = self._made()
        # Tried, and found to be no good.
        self._refused: object = None

    @property
    def current(self) -> T:
        """The last good one."""
        return self._current

    def look(self) -> bool:
        """Make it anew where files have changed; True where there is a new one."""
        try:
            version = self._version_on_disk()
            if version in (self._version, self._refused):
                return False
            self._version, self._current = self._made()
        except UnusableFileError as error:
            self._refuse(error)
            return False
        self._refused = None
        self._say(f"{self._what} read again")
        return True

    def _refuse(self, error: UnusableFileError) -> None:
        try:
            refused: object = self._version_on_disk()
        except UnusableFileError as fault:
            refused = str(fault)
        if refused != self._refused:
            self._refused = refused
            self._say(f"{self._what} can't be used: keeping the last good one", reason=str(error))

    def _made(self) -> tuple[_Version, T]:
        for _ in range(_TRIES):
            version = self._version_on_disk()
            try:
                made = self._make()
            except UnusableFileError:
                if self._version_on_disk() == version:
                    raise
                continue
            if self._version_on_disk() == version:
                return version, made
        raise UnusableFileError(f"{self._paths[0]}: changes while it is read")

    def _version_on_disk(self) -> _Version:
        try:
            found = [os.stat(path) for path in self._paths]
        except OSError as error:
            raise UnusableFileError(f"{error.filename}: {error.strerror}") from None
        return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in found)
