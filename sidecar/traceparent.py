"""`traceparent` (W3C Trace Context, section 3.2): trace and span id, where it is valid. Pure."""

import re
from typing import Final

# No version ff, no ids of zeros; versions after 00 may append.
_TRACEPARENT: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-[\x21-\x7e]*)?"
).fullmatch
_FIRST_VERSION: Final = b"00-"
_FIRST_VERSION_LENGTH: Final = 55


def read_traceparent(value: bytes) -> tuple[bytes, bytes]:
    """Trace id (32 digits) and span id (16) in lower-case hex; both empty where `value` is not valid."""
    match = _TRACEPARENT(value)
    if match is None or (value.startswith(_FIRST_VERSION) and len(value) != _FIRST_VERSION_LENGTH):
        return b"", b""
    return match[1], match[2]
