"""Lenses: text as it reads once an encoding that hides values is undone, and the way back from there.

Pure. A lens changes nothing by itself: it gives a view, whose spans lead back to the text it was made of, so
that a value is masked where it stands, as it stands there. Each takes time linear in the text.

    escapes   JSON and programs' escapes, percent-encoding (RFC 3986, section 2.1), HTML entities
    quoted    quoted-printable (RFC 2045, section 6.7)
    blobs     base64 in both alphabets (RFC 4648) and hexadecimal, where they hold text
    widths    characters of the same meaning: full-width forms, other scripts' digits, odd spaces and dashes
"""

import binascii
import html
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from sidecar.recorder.redaction.folding import FOLDABLE, folded

# What one undone piece stood for: its first byte and its end in the text, and the bytes it means.
_Undone = tuple[int, int, bytes]


@dataclass(frozen=True, slots=True)
class View:
    """A text with some pieces undone. The three lists go together: one item for each such piece."""

    data: bytes
    # Where the pieces begin in `data`, where they end there, and where they began and ended in the text.
    starts: list[int]
    ends: list[int]
    origins: list[tuple[int, int]]

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Where in the text the bytes `start` to `end` of the view stand; pieces that they touch wholly."""
        return self._origin_of(start, 0), self._origin_of(end - 1, 1)

    def _origin_of(self, place: int, side: int) -> int:
        number = bisect_right(self.starts, place) - 1
        if number < 0:
            return place + side
        if place < self.ends[number]:
            return self.origins[number][side]
        return self.origins[number][1] + place - self.ends[number] + side


Lens = Callable[[bytes], View | None]


def _view(data: bytes, undone: Iterable[_Undone]) -> View | None:
    """`data` with these pieces, which come in order; None if there are none."""
    out: list[bytes] = []
    starts: list[int] = []
    ends: list[int] = []
    origins: list[tuple[int, int]] = []
    copied = length = 0
    for start, end, meant in undone:
        out += (data[copied:start], meant)
        length += start - copied
        starts.append(length)
        length += len(meant)
        ends.append(length)
        origins.append((start, end))
        copied = end
    if not starts:
        return None
    out.append(data[copied:])
    return View(b"".join(out), starts, ends, origins)


# -- escapes

_ESCAPE: Final = re.compile(
    rb"\\u[Dd][89ABab][0-9A-Fa-f]{2}\\u[Dd][C-Fc-f][0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[\"\\/bfnrt]"
    rb"|%[0-9A-Fa-f]{2}|&(?:\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][0-9A-Za-z]{1,30});"
)
_LETTERS: Final = {b'"': b'"', b"\\": b"\\", b"/": b"/"}


def escapes(data: bytes) -> View | None:
    """Backslash escapes, percent-encoding and entities undone, once."""
    if b"\\" not in data and b"%" not in data and b"&" not in data:
        return None
    return _view(data, ((each.start(), each.end(), _unescaped(each[0])) for each in _ESCAPE.finditer(data)))


def _unescaped(escape: bytes) -> bytes:
    kind = escape[:2]
    if kind == b"\\u":
        units = bytes.fromhex(escape.replace(b"\\u", b"").decode())
        return units.decode("utf-16-be", "replace").encode()
    if kind == b"\\x":
        return bytes.fromhex(escape[2:].decode())
    if kind[:1] == b"\\":
        return _LETTERS.get(escape[1:], b" ")  # the others are space of some kind
    if kind[:1] == b"%":
        return bytes.fromhex(escape[1:].decode())
    return html.unescape(escape.decode()).encode("utf-8", "replace")


# -- quoted-printable

_QUOTED: Final = re.compile(rb"=[0-9A-F]{2}|=\r?\n")


def quoted(data: bytes) -> View | None:
    """Quoted-printable undone, soft line breaks included."""
    if b"=" not in data:
        return None
    return _view(
        data, ((each.start(), each.end(), binascii.a2b_qp(each[0])) for each in _QUOTED.finditer(data))
    )


# -- blobs

# Nine bytes, the shortest value of a class, are twelve characters. MIME breaks lines.
_SHORTEST_BLOB: Final = 12
_BLOB: Final = re.compile(rb"[0-9A-Za-z+/_-]{12,}(?:\r?\n[0-9A-Za-z+/_-]{4,})*={0,2}")
_PART: Final = re.compile(rb"[0-9A-Za-z]{12,}={0,2}")
# Words, paths and names: text in hexadecimal has digits, in base64 mostly capitals.
_WORDS: Final = re.compile(rb"[a-z/_-]+")
_HEX: Final = re.compile(rb"(?:[0-9A-Fa-f]{2}){9,}")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
# Bytes that text does not hold.
_NOT_TEXT: Final = bytes((*range(9), 11, 12, *range(14, 32), 127))


def blobs(data: bytes) -> View | None:
    """Base64 and hexadecimal undone where they hold text; other runs of letters stay what they are."""
    if len(data) < _SHORTEST_BLOB or _BLOB.search(data) is None:
        return None
    return _view(data, (undone for each in _BLOB.finditer(data) for undone in _undo_blob(data, each)))


def _undo_blob(data: bytes, run: re.Match[bytes]) -> Iterator[_Undone]:
    if _WORDS.fullmatch(run[0]):
        return
    meant = _text_of(run[0])
    if meant is not None:
        yield run.start(), run.end(), meant
        return
    # A path, or words in front: each part may be a blob of its own.
    for part in _PART.finditer(data, run.start(), run.end()):
        meant = _text_of(part[0])
        if meant is not None:
            yield part.start(), part.end(), meant


def _text_of(run: bytes) -> bytes | None:
    """The text that `run` encodes; None where it encodes none. Words of one case are words."""
    if run.islower() and not _HEX.fullmatch(run):
        return None
    compact = run.translate(_STANDARD, b"\r\n=")
    if _HEX.fullmatch(compact):
        return _if_text(bytes.fromhex(compact.decode()))
    if len(compact) % 4 == 1:
        return None
    return _if_text(binascii.a2b_base64(compact + b"=" * (-len(compact) % 4)))


def _if_text(data: bytes) -> bytes | None:
    if len(data.translate(None, _NOT_TEXT)) != len(data):
        return None
    try:
        data.decode()
    except ValueError:
        return None
    return data


# -- widths


def widths(data: bytes) -> View | None:
    """Characters that stand for ASCII ones replaced by them; those without width left out."""
    if data.isascii():
        return None
    return _view(data, ((each.start(), each.end(), folded(each[0])) for each in FOLDABLE.finditer(data)))


LENSES: Final[tuple[Lens, ...]] = (escapes, quoted, blobs, widths)
