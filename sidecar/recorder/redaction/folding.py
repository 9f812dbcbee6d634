"""Folding: text in other characters of the same meaning, as the ASCII that the patterns read.

Pure. Full-width forms become ASCII, spaces of every width a space, dashes of every length a dash; characters
without width go. So a card number in full-width digits or grouped by no-break spaces is one to the scanner.
"""

import re
from typing import Final

_WIDE: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_SPACES: Final = dict.fromkeys((0xA0, *range(0x2000, 0x200B), 0x202F, 0x3000), " ")
_DASHES: Final = dict.fromkeys((*range(0x2010, 0x2016), 0x2212), "-")
_WITHOUT_WIDTH: Final = dict.fromkeys((0xAD, *range(0x200B, 0x2010), 0x2060, 0xFEFF))
_FOLDS: Final = {**_WIDE, **_SPACES, **_DASHES, **_WITHOUT_WIDTH}
# The same characters in UTF-8, and few others.
_FOLDABLE: Final = re.compile(
    rb"\xef(?:\xbc[\x81-\xbf]|\xbd[\x80-\x9e]|\xbb\xbf)|\xc2[\xa0\xad]"
    rb"|\xe2(?:\x80[\x80-\x95\xaf]|\x81\xa0|\x88\x92)|\xe3\x80\x80"
)


def is_foldable(data: bytes) -> bool:
    """Whether `data`, UTF-8, holds anything to fold."""
    return not data.isascii() and _FOLDABLE.search(data) is not None


def folded(data: bytes) -> bytes:
    """`data`, UTF-8, folded."""
    return data.decode("utf-8", "replace").translate(_FOLDS).encode()
