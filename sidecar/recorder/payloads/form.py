"""Form: the text fields of a redacted form, as calls that bring a file have them (transcriptions, images).

Pure. Reads what redaction wrote: parts between lines of the first line's boundary, heads of its own making.
"""

import re
from typing import Final
from urllib.parse import parse_qsl

from sidecar.recorder.payloads.view import Side

_MOST_FIELDS: Final = 100
_MOST_BYTES: Final = 1 << 10
_NAME: Final = re.compile(rb';\s*name="([^"\\]{1,64})"', re.IGNORECASE)


def fields_of(side: Side) -> dict[str, str]:
    """The short text fields, of two of one name the first; none where the body is no form."""
    if side.media_type == "application/x-www-form-urlencoded":
        pairs = parse_qsl(side.data[: _MOST_FIELDS * _MOST_BYTES].decode("utf-8", "replace"))
    elif side.media_type == "multipart/form-data":
        pairs = _of_parts(side.data)
    else:
        return {}
    return {name: value for name, value in reversed(pairs[:_MOST_FIELDS]) if len(value) <= _MOST_BYTES}


def _of_parts(data: bytes) -> list[tuple[str, str]]:
    boundary, _, _ = data.partition(b"\r\n")
    if not boundary.startswith(b"--"):
        return []
    found = []
    for part in data.split(b"\r\n" + boundary, _MOST_FIELDS)[: _MOST_FIELDS + 1]:
        head, _, body = part.removeprefix(boundary).partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if name is not None and b"filename" not in head and len(body) <= _MOST_BYTES:
            found.append((name[1].decode("utf-8", "replace"), body.decode("utf-8", "replace")))
    return found
