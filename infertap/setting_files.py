"""Setting files: reads the files that settings name: keys, rules, certificates, descriptions.

Touches those files only. It promises to end at once whatever stands there, for processes wait for it as they
start: what is no regular file is refused, as a FIFO or a device may hold its reader up for ever. Standard
library only: the sidecar's parent and relays import this.
"""

import os
import stat


class UnusableFileError(Exception):
    """A file can't be used; the message names it and says why, without quoting it."""


def read_file(path: str, most_bytes: int) -> bytes:
    """The content of a regular file of at most `most_bytes`; raises UnusableFileError."""
    try:
        with open(path, "rb", opener=_open_regular) as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise UnusableFileError(f"{path}: {error.strerror}") from None
    if len(content) > most_bytes:
        raise UnusableFileError(f"{path}: more than {most_bytes} bytes")
    return content


def _open_regular(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        check_regular(path, os.fstat(descriptor))
    except UnusableFileError:
        os.close(descriptor)
        raise
    return descriptor


def check_regular(path: str, found: os.stat_result) -> None:
    """Raises UnusableFileError where what was `found` at `path` is no regular file."""
    if not stat.S_ISREG(found.st_mode):
        raise UnusableFileError(f"{path}: not a regular file")
