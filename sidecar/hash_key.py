"""Hash key: the key of keyed hashes, read from its file. Touches that file only.

The parent reads it to say at the start what is wrong, the recorder to use it.
"""

from typing import Final

from infertap.setting_files import UnusableFileError, read_file

_SHORTEST: Final = 16
_LONGEST: Final = 64 << 10


class HashKeyError(Exception):
    """The key can't be used; the message names the setting and never the key."""


def read_hash_key(path: str | None) -> bytes | None:
    """The key in the file at `path`, less white space around it; None without one. Raises HashKeyError."""
    if path is None:
        return None
    try:
        key = read_file(path, _LONGEST).strip()
    except UnusableFileError as error:
        raise HashKeyError(f"INFERTAP_HASH_KEY_FILE: {error}") from None
    if len(key) < _SHORTEST:
        raise HashKeyError(f"INFERTAP_HASH_KEY_FILE: {path}: a key has at least {_SHORTEST} bytes")
    return key
