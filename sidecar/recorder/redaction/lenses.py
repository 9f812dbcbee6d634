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
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final

import re2

from sidecar.recorder.redaction.folding import FOLDABLE, fold

# What one undone piece stood for: its first byte and its end in the text, and the bytes it means.
_Undone = tuple[int, int, bytes]


class View:
    """A text with some pieces undone. Where its bytes stand in the text is worked out when it is asked."""

    __slots__ = ("_coding", "_ends", "_meant", "_meant_ends", "_parts", "_texts", "data")

    def __init__(
        self,
        data: bytes,
        parts: Sequence[bytes | str],
        meant: Sequence[bytes | str],
        coding: "_Coding | None" = None,
    ) -> None:
        """`parts` are the text's, every second one undone; `meant` are what they mean, `data` all of that."""
        self.data = data
        self._texts = parts, meant
        self._parts: list[bytes] = []
        self._meant: list[bytes] = []
        self._coding = coding
        self._ends: list[int] = []
        self._meant_ends: list[int] = []

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Where in the text the bytes `start` to `end` of the view stand; pieces that they touch wholly."""
        if not self._ends:
            self._parts, self._meant = map(_encoded, self._texts)
            self._ends = list(accumulate(map(len, self._parts)))
            self._meant_ends = list(accumulate(map(len, self._meant)))
        return self._origin_of(start)[0], self._origin_of(end - 1)[1]

    def _origin_of(self, place: int) -> tuple[int, int]:
        number = bisect_right(self._meant_ends, place)
        within = place - self._meant_ends[number] + len(self._meant[number])
        begin = self._ends[number] - len(self._parts[number])
        if number % 2 == 0:
            return begin + within, begin + within + 1
        first, last = self._piece_at(number, within)
        return begin + first, begin + last

    def _piece_at(self, number: int, within: int) -> tuple[int, int]:
        """The piece of an undone run that means its byte `within`; the whole run where that can't be told."""
        run, meant = self._parts[number], self._meant[number]
        if self._coding is None:
            return 0, len(run)
        pieces = self._coding.single.findall(run)
        meanings = [self._coding.meaning(piece) for piece in pieces]
        if b"".join(meanings) != meant:
            return 0, len(run)
        at = bisect_right(list(accumulate(map(len, meanings))), within)
        first = sum(map(len, pieces[:at]))
        return first, first + len(pieces[at])


def _encoded(texts: Sequence[bytes | str]) -> list[bytes]:
    return [text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text for text in texts]


Lens = Callable[[bytes], View | None]

# Short pieces are few, and come again and again; what is longer is not kept in memory.
_REMEMBERED_BYTES: Final = 12
_REMEMBERED: Final = 1 << 16


class _Coding(dict[bytes, bytes]):
    """One coding: how its runs look, and what they mean. A run is undone at once, by C."""

    def __init__(self, run: bytes, single: bytes, meaning: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self._split = re.compile(b"(" + run + b")").split
        self.single = re.compile(single)
        self.meaning = meaning

    def __missing__(self, piece: bytes) -> bytes:
        meant = self.meaning(piece)
        if len(piece) <= _REMEMBERED_BYTES and len(self) < _REMEMBERED:
            self[piece] = meant
        return meant

    def undone(self, data: bytes) -> View | None:
        """`data` with its runs undone; None if there are none."""
        parts = self._split(data)
        if len(parts) == 1:
            return None
        meant = parts.copy()
        meant[1::2] = map(self.__getitem__, parts[1::2])
        return View(b"".join(meant), parts, meant, self)


# -- escapes

_BACKSLASH_RUN: Final = rb"(?:\\u[0-9A-Fa-f]{4})+|(?:\\x[0-9A-Fa-f]{2})+|(?:\\[\"\\/bfnrt])+"
_PERCENT_RUN: Final = rb"(?:%[0-9A-Fa-f]{2})+"
_ENTITY: Final = rb"&(?:\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][0-9A-Za-z]{1,30});"
_SINGLE: Final = (
    rb"\\u[Dd][89ABab][0-9A-Fa-f]{2}\\u[Dd][C-Fc-f][0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\."
    rb"|%[0-9A-Fa-f]{2}|&[^;]*;"
)
# What follows the backslash; the others are space of some kind.
_LETTERS: Final = bytes.maketrans(b"bfnrt", b"     ")


def _unescaped(run: bytes) -> bytes:
    if run[:1] == b"%":
        return bytes.fromhex(run.replace(b"%", b"").decode())
    if run[:1] == b"&":
        return html.unescape(run.decode()).encode("utf-8", "replace")
    if run[1:2] == b"u":
        units = bytes.fromhex(run.replace(b"\\u", b"").decode())
        return units.decode("utf-16-be", "replace").encode()
    if run[1:2] == b"x":
        return bytes.fromhex(run.replace(b"\\x", b"").decode())
    return run[1::2].translate(_LETTERS)


# By which of them a text has: the fewer are looked for the quicker.
_ESCAPES: Final = {
    marks: _Coding(b"|".join(runs), _SINGLE, _unescaped)
    for marks, runs in {
        (True, False, False): (_BACKSLASH_RUN,),
        (False, True, False): (_PERCENT_RUN,),
        (False, False, True): (_ENTITY,),
        (True, True, False): (_BACKSLASH_RUN, _PERCENT_RUN),
        (True, False, True): (_BACKSLASH_RUN, _ENTITY),
        (False, True, True): (_PERCENT_RUN, _ENTITY),
        (True, True, True): (_BACKSLASH_RUN, _PERCENT_RUN, _ENTITY),
    }.items()
}


def escapes(data: bytes) -> View | None:
    """Backslash escapes, percent-encoding and entities undone, once."""
    coding = _ESCAPES.get((b"\\" in data, b"%" in data, b"&" in data))
    return None if coding is None else coding.undone(data)


# -- quoted-printable

_QUOTED: Final = _Coding(rb"(?:=[0-9A-F]{2}|=\r?\n)+", rb"=[0-9A-F]{2}|=\r?\n", binascii.a2b_qp)


def quoted(data: bytes) -> View | None:
    """Quoted-printable undone, soft line breaks included."""
    return _QUOTED.undone(data) if b"=" in data else None


# -- blobs

# Nine bytes, the shortest value of a class, are twelve characters. MIME breaks lines.
_SHORTEST_BLOB: Final = 12
_BLOB_FORM: Final = rb"[0-9A-Za-z+/_-]{12,}(?:\r?\n[0-9A-Za-z+/_-]{4,})*={0,2}"
# RE2 passes over text the quicker, Python's engine gives many matches the quicker.
_BLOB: Final = re2.compile(_BLOB_FORM)
_BLOB_OF_MANY: Final = re.compile(_BLOB_FORM)
_MANY: Final = 64 << 10
_PART: Final = re.compile(rb"[0-9A-Za-z]{12,}={0,2}")
# Words, paths and names: text in hexadecimal has digits, in base64 mostly capitals.
_WORD_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz/_-"
_HEX_DIGITS: Final = b"0123456789ABCDEFabcdef"
_SHORTEST_HEX: Final = 18
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
# Bytes that text does not hold.
_NOT_TEXT: Final = bytes((*range(9), 11, 12, *range(14, 32), 127))
# Of most that is no text so much tells; what is looked at first.
_FIRST: Final = 64


def blobs(data: bytes) -> View | None:
    """Base64 and hexadecimal undone where they hold text; other runs of letters stay what they are."""
    if len(data) < _SHORTEST_BLOB:
        return None
    parts: list[bytes] = []
    meant: list[bytes] = []
    copied = 0
    for start, end, text in _all_blobs(data):
        between = data[copied:start]
        parts += (between, data[start:end])
        meant += (between, text)
        copied = end
    if not parts:
        return None
    parts.append(data[copied:])
    meant.append(data[copied:])
    return View(b"".join(meant), parts, meant)


def _all_blobs(data: bytes) -> Iterable[_Undone]:
    # Ids stand in each event of a stream.
    without: set[bytes] = set()
    for each in (_BLOB if len(data) < _MANY else _BLOB_OF_MANY).finditer(data):
        run = each[0]
        if run in without:
            continue
        found = False
        for start, end, text in _of_run(run):
            found = True
            yield each.start() + start, each.start() + end, text
        if not found:
            without.add(run)


def _of_run(run: bytes) -> Iterator[_Undone]:
    if not run.translate(None, _WORD_LETTERS):
        return
    text = _text_of(run)
    if text is not None:
        yield 0, len(run), text
        return
    # A path, or words in front: each part may be a blob of its own.
    for part in _PART.finditer(run):
        text = _text_of(part[0])
        if text is not None:
            yield part.start(), part.end(), text


def _text_of(run: bytes) -> bytes | None:
    """The text that `run` encodes; None where it encodes none. Words of one case are words."""
    compact = run.translate(_STANDARD, b"\r\n=")
    if len(compact) >= _SHORTEST_HEX and len(compact) % 2 == 0 and not compact.translate(None, _HEX_DIGITS):
        return _if_text(bytes.fromhex(compact.decode()))
    if len(compact) % 4 == 1 or run.islower():
        return None
    if len(compact) > _FIRST and _if_text(binascii.a2b_base64(compact[:_FIRST]), cut=True) is None:
        return None
    return _if_text(binascii.a2b_base64(compact + b"=" * (-len(compact) % 4)))


def _if_text(data: bytes, cut: bool = False) -> bytes | None:
    if len(data.translate(None, _NOT_TEXT)) != len(data):
        return None
    try:
        return data if cut or data.decode() else None
    except ValueError:
        return None


# -- widths


def _folded(run: bytes) -> bytes:
    return fold(run.decode()).encode()


def widths(data: bytes) -> View | None:
    """Characters that stand for ASCII ones replaced by them; those without width left out."""
    if data.isascii():
        return None
    # Characters are looked for as such: of bytes there are too many beginnings.
    texts = FOLDABLE.split(data.decode("utf-8", "surrogateescape"))
    if len(texts) == 1:
        return None
    meant = texts.copy()
    meant[1::2] = map(_FOLDS.__getitem__, texts[1::2])
    return View("".join(meant).encode("utf-8", "surrogateescape"), texts, meant, _WIDTHS)


class _Folds(dict[str, str]):
    """What runs stand for; short ones are remembered."""

    def __missing__(self, run: str) -> str:
        meant = fold(run)
        if len(run) <= 2 and len(self) < _REMEMBERED:
            self[run] = meant
        return meant


_FOLDS: Final = _Folds()


# One character that is not ASCII, in UTF-8.
_WIDTHS: Final = _Coding(b"(?!)", rb"[\xc2-\xf4][\x80-\xbf]+", _folded)

LENSES: Final[tuple[Lens, ...]] = (escapes, quoted, blobs, widths)
