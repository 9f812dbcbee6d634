"""Charset: the text that bytes are, by their type or by what they look like. Pure."""

import codecs
import re
from typing import Final

from sidecar.recorder.redaction.holes import Ends

_CHARSET: Final = re.compile(r"""charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)
# Control characters that no text holds.
_CONTROLS: Final = bytes((*range(9), *range(14, 27), *range(28, 32), 127))
# What follows the first byte of a character of UTF-8.
_WITHIN_CHARACTER: Final = bytes(range(0x80, 0xC0))


def as_utf8(data: bytes, content_type: str, ends: Ends) -> bytes | None:
    """`data` as UTF-8; None where it is no text of its charset, or can't be read from its middle."""
    declared = _CHARSET.search(content_type)
    charset = declared[1].lower() if declared else _by_mark(data)
    if charset in ("utf-8", "utf8", "us-ascii", "ascii"):
        text = data.removeprefix(codecs.BOM_UTF8)
        if text.isascii() or _is_utf8(text, ends.closes):
            return None if _is_binary(text) else text
        return None
    if ends.opens:
        return None
    try:
        decoded = codecs.lookup(charset).incrementaldecoder("strict").decode(data, final=not ends.closes)
    except (LookupError, ValueError):
        return None
    text = decoded.removeprefix("\ufeff").encode("utf-8", "replace")
    return None if _is_binary(text) else text


def _is_binary(text: bytes) -> bool:
    return len(text.translate(None, _CONTROLS)) != len(text)


def _by_mark(data: bytes) -> str:
    """The charset that a byte order mark tells, or for JSON where its zeros are (RFC 4627, section 3)."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if data[:4].count(0) == 2 and len(data) >= 4:
        return "utf-16-be" if data[0] == 0 else "utf-16-le"
    return "utf-8"


def _is_utf8(data: bytes, cut: bool) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(data, final=not cut)
    except ValueError:
        return False
    return True


def from_character(data: bytes) -> bytes:
    """`data` from the first character of UTF-8 that is whole."""
    return data[:3].lstrip(_WITHIN_CHARACTER) + data[3:]
