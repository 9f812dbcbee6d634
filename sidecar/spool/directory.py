"""Directory: who may use it, and what becomes of a file that can't be trusted.

    data.mdb, lock.mdb    LMDB's
    owner.lock            locked (flock) by the one process that uses the directory; holds its process id
    unclean-ends          how often in a row the owner ended without `release`; absent: the last end was clean
    aside-TIME.mdb        a data.mdb that was set aside; the newest only, and only until its room is needed

Touches nothing outside the directory, but one line on stderr when a file is set aside or removed.
"""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from sidecar.event_log import log_event
from sidecar.spool.errors import SpoolFailed, SpoolLocked

_OWNER_FILE: Final = "owner.lock"
_UNCLEAN_FILE: Final = "unclean-ends"
# So many ends in a row may be an outsider's doing; from then on the file is checked before it is opened.
_UNCLEAN_ENDS_TRUSTED: Final = 3


class SpoolDirectory:
    """A directory that this process owns until `release`."""

    def __init__(self, path: Path, owner_descriptor: int) -> None:
        """Use `claim`."""
        self.path = path
        self._owner_descriptor: int | None = owner_descriptor
        # Bytes of what was set aside.
        self.aside_bytes = sum(file.stat().st_size for file in path.glob("aside-*.mdb"))

    @classmethod
    def claim(cls, path: Path) -> "SpoolDirectory":
        """Make the directory if need be, for this user only, and own it; raises SpoolLocked, SpoolFailed."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _close_to_others(path)
            descriptor = os.open(path / _OWNER_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpoolFailed(f"INFERTAP_SPOOL_DIR: {path}: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise SpoolLocked(
                f"INFERTAP_SPOOL_DIR: {path} is in use by another sidecar (process {owner})"
            ) from None
        # For the message of a second owner only: a full disk may refuse it.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(path, descriptor)

    def begin_use(self) -> bool:
        """Note that an end from now on is unclean; False if there were so many that the file is suspect."""
        file = self.path / _UNCLEAN_FILE
        try:
            earlier = int(file.read_text())
        except (OSError, ValueError):
            earlier = 0
        # A full disk keeps no count, and that is no reason not to open the file.
        with suppress(OSError):
            file.write_text(f"{earlier + 1}\n")
        return earlier < _UNCLEAN_ENDS_TRUSTED

    def trust(self) -> None:
        """The file has served for a while, or was closed: forget unclean ends."""
        with suppress(OSError):
            (self.path / _UNCLEAN_FILE).unlink()

    def release(self) -> None:
        """Let another process have the directory; harmless when released."""
        if self._owner_descriptor is not None:
            os.close(self._owner_descriptor)
            self._owner_descriptor = None

    def set_aside(self, data_file: str, reason: str) -> None:
        """Rename the data file out of the way; it keeps the room it has until that is needed."""
        self.make_room()
        aside = f"aside-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.mdb"
        (self.path / data_file).rename(self.path / aside)
        self.aside_bytes = (self.path / aside).stat().st_size
        (self.path / "lock.mdb").unlink(missing_ok=True)
        log_event("recorder", "spool_set_aside", file=aside, reason=reason)

    def make_room(self) -> None:
        """Remove what was set aside."""
        for file in self.path.glob("aside-*.mdb"):
            file.unlink()
            log_event("recorder", "spool_aside_removed", file=file.name)
        self.aside_bytes = 0

    def free_bytes(self) -> int:
        """What the disk has left for this user."""
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize


def _close_to_others(path: Path) -> None:
    # A mounted volume may belong to somebody else; the files themselves are closed to others.
    with suppress(PermissionError):
        path.chmod(0o700)
