"""Keys: the file of those that sign checkpoints. Touches that file.

One key a line, as `infertap audit key` writes them; lines that begin with # are for people. All sign: with
two, who knows the old one or the new one can check; the old one is taken out when everybody has the new one.
They have one name, which is the origin of the checkpoints.
"""

from typing import Final

from infertap.setting_files import UnusableFileError, read_file
from infertap.verification import NoteError, PrivateKey, read_private_key

_MOST_BYTES: Final = 1 << 16


class KeyFileError(ValueError):
    """The key file can't be used; the message is for the person who set it up, and holds nothing of a key."""


def read_keys(path: str) -> list[PrivateKey]:
    """The keys in a file; at least one. Raises KeyFileError."""
    try:
        lines = read_file(path, _MOST_BYTES).decode("ascii", "replace").splitlines()
        keys = [read_private_key(line.strip()) for line in lines if line.strip() and line[0] != "#"]
    except UnusableFileError as error:
        raise KeyFileError(str(error)) from None
    except NoteError as error:
        raise KeyFileError(f"{path}: {error}") from None
    if not keys:
        raise KeyFileError(f"{path}: no key in it; `infertap audit key` makes one")
    if len({key.name for key in keys}) > 1:
        raise KeyFileError(f"{path}: keys of different names; all of one archive have the same")
    return keys
