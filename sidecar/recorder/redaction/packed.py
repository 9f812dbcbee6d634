"""Packed: text in bytes that were base64 or hexadecimal: as it is, of two bytes a character, or packed.

Pure. It takes time linear in what is there, however much that unpacks to.
"""

import re
import zlib
from typing import Final

# What text does not hold: control characters, and bytes that begin nothing in UTF-8 or go on with nothing.
_NOT_TEXT: Final = bytes((*range(9), 11, 12, *range(14, 32), 127))
_no_text: Final = re.compile(
    b"[" + re.escape(_NOT_TEXT) + rb"\xc0\xc1\xf5-\xff]|[\xc2-\xf4][^\x80-\xbf]|(?:^|[\x00-\x7e])[\x80-\xbf]"
).search

_PACKED: Final = (b"\x1f\x8b\x08", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_ANY_WRAPPER: Final = 32 + zlib.MAX_WBITS
# Text is seldom packed closer; what is unpacked stays in proportion to what is there.
_MOST_UNPACKED: Final = 16
_NUL: Final = b"\0"


def may_be_text(beginning: bytes) -> bool:
    """Whether what begins so may hold text: mostly it does not, and its beginning tells."""
    return not _no_text(beginning) or beginning.startswith(_PACKED) or _NUL in (beginning[:1], beginning[1:2])


def text_in(data: bytes) -> bytes | None:
    """The text that `data` holds, in UTF-8; None where it holds none."""
    if data.startswith(_PACKED):
        return _if_plain(_unpacked(data))
    if len(data) > 1 and _NUL in (data[:1], data[1:2]):
        return _if_plain(data.decode("utf-16-le" if data[1] == 0 else "utf-16-be", "replace").encode())
    return _if_plain(data)


def _unpacked(data: bytes) -> bytes:
    """What gzip or zlib packed, as far as that goes."""
    try:
        return zlib.decompressobj(_ANY_WRAPPER).decompress(data, _MOST_UNPACKED * len(data) + 1024)
    except zlib.error:
        return _NUL


def _if_plain(data: bytes) -> bytes | None:
    if len(data.translate(None, _NOT_TEXT)) != len(data):
        return None
    if not data.isascii():
        try:
            data.decode()
        except ValueError:
            return None
    return data
