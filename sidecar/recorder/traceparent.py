"""`traceparent` (W3C Trace Context, section 3.2): trace and span id, where it is valid. Pure."""

import re
from typing import Final

_TRACEPARENT: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?", re.DOTALL
)


def read_traceparent(value: bytes) -> tuple[str, str]:
    """Trace id and span id in lower-case hex; both empty where `value` is not valid."""
    match = _TRACEPARENT.fullmatch(value)
    return (match[1].decode(), match[2].decode()) if match else ("", "")
