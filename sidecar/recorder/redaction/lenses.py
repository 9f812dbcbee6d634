"""Lenses: text as it reads once an encoding that hides values is undone, and the way back from there.

Pure. A lens changes nothing by itself: it gives a view, whose spans lead back to the text it was made of, so
that a value is masked where it stands, as it stands there. Each takes time linear in the text.

    escapes   JSON and programs' escapes, percent-encoding (RFC 3986, section 2.1), HTML entities
    quoted    quoted-printable (RFC 2045, section 6.7)
    blobs     base64 in both alphabets (RFC 4648) and hexadecimal, where they hold text
    widths    characters of the same meaning: full-width forms, other scripts' digits, odd spaces and dashes
"""

import html
import re
from binascii import a2b_base64, a2b_qp
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Final

import re2

from sidecar.recorder.redaction.folding import FOLDABLE, fold
from sidecar.recorder.redaction.packed import may_be_text, text_in

# What one undone piece stood for: its first byte and its end in the text, and the bytes it means.
_Undone = tuple[int, int, bytes]
# A text's parts, every second one undone, and as many meanings.
_Split = tuple[Sequence[bytes | str], Sequence[bytes | str]]


class View:
    """A text with some pieces undone. Where its bytes stand in the text is worked out when it is asked."""

    __slots__ = ("_coding", "_ends", "_meant", "_meant_ends", "_parts", "_split", "data")

    def __init__(self, data: bytes, split: Callable[[], "_Split"], coding: "_Coding | None" = None) -> None:
        """`split` gives the parts of a text, every second one undone, and what they mean: together `data`."""
        self.data = data
        self._split = split
        self._parts: list[bytes] = []
        self._meant: list[bytes] = []
        self._coding = coding
        self._ends: list[int] = []
        self._meant_ends: list[int] = []

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Where in the text the bytes `start` to `end` of the view stand; pieces that they touch wholly."""
        if not self._ends:
            self._parts, self._meant = map(_encoded, self._split())
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
        return View(_joined(meant), lambda: (parts, meant), self)


_JOINED_AT_ONCE: Final = 512


def _joined(parts: Sequence[bytes]) -> bytes:
    """All of them. Few at a time: it takes 80 bytes for each, for a million more than to join costs."""
    if len(parts) <= _JOINED_AT_ONCE:
        return b"".join(parts)
    starts = range(0, len(parts), _JOINED_AT_ONCE)
    return b"".join([b"".join(parts[start : start + _JOINED_AT_ONCE]) for start in starts])


# -- escapes

# Possessive, as nothing in a run can be read otherwise: a tenth of the time.
_BACKSLASH_RUN: Final = rb"(?:\\u[0-9A-Fa-f]{4})++|(?:\\x[0-9A-Fa-f]{2})++|(?:\\[\"\\/bfnrt])++"
_PERCENT_RUN: Final = rb"(?:%[0-9A-Fa-f]{2})++"
_ENTITY_RUN: Final = rb"(?:&(?:\#[0-9]{1,7}+|\#[xX][0-9A-Fa-f]{1,6}+|[A-Za-z][0-9A-Za-z]{1,30}+);)++"
_SINGLE: Final = (
    rb"\\u[Dd][89ABab][0-9A-Fa-f]{2}\\u[Dd][C-Fc-f][0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\."
    rb"|%[0-9A-Fa-f]{2}|&[^;]*;"
)
# What follows the backslash; the others are space of some kind.
_LETTERS: Final = bytes.maketrans(b"bfnrt", b"     ")


class _Entities(dict[bytes, bytes]):
    """What entities mean, by their text without the semicolon; remembered."""

    def __missing__(self, entity: bytes) -> bytes:
        meant = html.unescape(entity.decode() + ";").encode("utf-8", "replace")
        if len(entity) <= _REMEMBERED_BYTES and len(self) < _REMEMBERED:
            self[entity] = meant
        return meant


_ENTITIES: Final = _Entities()


def _unescaped(run: bytes) -> bytes:
    if run[:1] == b"%":
        return bytes.fromhex(run.replace(b"%", b"").decode())
    if run[:1] == b"&":
        return _joined(list(map(_ENTITIES.__getitem__, run.split(b";")[:-1])))
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
        (False, False, True): (_ENTITY_RUN,),
        (True, True, False): (_BACKSLASH_RUN, _PERCENT_RUN),
        (True, False, True): (_BACKSLASH_RUN, _ENTITY_RUN),
        (False, True, True): (_PERCENT_RUN, _ENTITY_RUN),
        (True, True, True): (_BACKSLASH_RUN, _PERCENT_RUN, _ENTITY_RUN),
    }.items()
}


def escapes(data: bytes) -> View | None:
    """Backslash escapes, percent-encoding and entities undone, once."""
    marks = (b"\\" in data, b"%" in data, b"&" in data)
    if marks == _BACKSLASHES and data.count(b"\\") >= _MANY_ESCAPES and not _LONG_ESCAPE.search(data):
        return View(_letters_undone(data), lambda: _split_escapes(data), _ESCAPES[marks])
    coding = _ESCAPES.get(marks)
    return None if coding is None else coding.undone(data)


# Of so many that are all of one letter each is replaced the quicker; where each stands is asked later.
_MANY_ESCAPES: Final = 512
_BACKSLASHES: Final = (True, False, False)
_LONG_ESCAPE: Final = re.compile(rb"\\[ux\\]")
_split_at_backslashes: Final = re.compile(b"(" + _BACKSLASH_RUN + b")").split


def _letters_undone(data: bytes) -> bytes:
    for letter in b'"/bfnrt':
        escape = bytes([letter])
        data = data.replace(b"\\" + escape, escape.translate(_LETTERS))
    return data


def _split_escapes(data: bytes) -> _Split:
    parts = _split_at_backslashes(data)
    meant = parts.copy()
    meant[1::2] = map(_unescaped, parts[1::2])
    return parts, meant


# -- quoted-printable

_QUOTED: Final = _Coding(rb"(?:=(?:[0-9A-F]{2}|\r?\n))++", rb"=[0-9A-F]{2}|=\r?\n", a2b_qp)


def quoted(data: bytes) -> View | None:
    """Quoted-printable undone, soft line breaks included."""
    return _QUOTED.undone(data) if b"=" in data else None


# -- blobs

# Nine bytes, the shortest value of a class, are twelve characters. MIME breaks lines.
_SHORTEST_BLOB: Final = 12
_BLOB_FORM: Final = rb"[0-9A-Za-z+/_-]{12,}(?:\r?\n[0-9A-Za-z+/_-]{4,})*={0,2}"
# RE2 passes over text the quicker, Python's engine gives many matches the quicker.
_BLOB: Final = re2.compile(_BLOB_FORM)
_BLOB_OF_MANY: Final = re.compile(rb"[0-9A-Za-z+/_-]{12,}+(?:\r?\n[0-9A-Za-z+/_-]{4,}+)*+={0,2}+")
_MANY: Final = 64 << 10
_KNOWN_BYTES: Final = 128
_PART: Final = re.compile(rb"([0-9A-Za-z]{12,}+)={0,2}+")
# Words, paths and names: text in hexadecimal has digits, in base64 mostly capitals.
_WORD_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz/_-"
_HEX_DIGITS: Final = b"0123456789ABCDEFabcdef"
_SHORTEST_HEX: Final = 18
_LONG_NUMBER: Final = re.compile(rb"[0-9]{18,}+")
_DIGITS_IN_LINES: Final = b"0123456789\r\n="
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
# Of the text before and after so much is in the view; what stands for the rest, which is in no value.
_AROUND: Final = 64
_LEFT_OUT: Final = b"\x00"
_PADDING: Final = (b"", b"", b"==", b"=")


def blobs(data: bytes) -> View | None:
    """Base64 and hexadecimal undone where they hold text; other runs of letters stay what they are."""
    if len(data) < _SHORTEST_BLOB:
        return None
    parts: list[bytes] = []
    meant: list[bytes] = []
    copied = 0
    for start, end, text in _all_blobs(data):
        between = data[copied:start]
        if len(between) > 2 * _AROUND:  # looked at already: what is around may say what the blob holds
            before, between = between[:_AROUND], between[-_AROUND:]
            parts += (before, data[copied + _AROUND : start - _AROUND])
            meant += (before, _LEFT_OUT)
        parts += (between, data[start:end])
        meant += (between, text)
        copied = end
    if not parts:
        return None
    after = data[copied : copied + _AROUND]
    parts += (after, data[copied + _AROUND :], b"")
    meant += (after, _LEFT_OUT, b"")
    return View(_joined(meant), lambda: (parts, meant))


def _all_blobs(data: bytes) -> Iterator[_Undone]:
    is_long = len(data) >= _MANY
    if is_long and _BLOB.search(data) is None:
        return
    # Ids stand in each event of a stream.
    known: dict[bytes, Sequence[_Undone]] = {}
    for each in (_BLOB_OF_MANY if is_long else _BLOB).finditer(data):
        run = each[0]
        undone = known.get(run)
        if undone is None:
            undone = tuple(_of_run(run))
            if len(run) <= _KNOWN_BYTES:
                known[run] = undone
        if undone:
            first = each.start()
            for start, end, text in undone:
                yield first + start, first + end, text


def _of_run(run: bytes) -> Iterator[_Undone]:
    if not run.translate(None, _WORD_LETTERS):
        return
    if not run.translate(None, _DIGITS_IN_LINES):  # no base64: such are no bytes of text
        for number in _LONG_NUMBER.finditer(run):
            text = _text_of(number[0])
            if text is not None:
                yield number.start(), number.end(), text
        return
    text = _text_of(run.translate(_STANDARD, b"\r\n="))
    if text is not None:
        yield 0, len(run), text
        return
    # A path, or words in front: each part may be a blob of its own.
    for part in _PART.finditer(run):
        text = _text_of(part[1])
        if text is not None:
            yield part.start(), part.end(), text


def _text_of(run: bytes) -> bytes | None:
    """The text that `run` encodes; None where it encodes none. Words of one case are words."""
    size = len(run)
    # Mostly it is no text, and its beginning tells.
    is_base64 = size % 4 != 1 and not run.islower() and may_be_text(a2b_base64(run[:_SHORTEST_BLOB]))
    if size >= _SHORTEST_HEX and size % 2 == 0 and not run.translate(None, _HEX_DIGITS):
        return text_in(bytes.fromhex(run.decode()))
    return text_in(a2b_base64(run + _PADDING[size % 4])) if is_base64 else None


# -- widths


def _folded(run: bytes) -> bytes:
    return fold(run.decode()).encode()


def widths(data: bytes) -> View | None:
    """Characters that stand for ASCII ones replaced by them; those without width left out."""
    if data.isascii():
        return None
    # Characters are looked for as such: of bytes there are too many beginnings.
    text = data.decode("utf-8", "surrogateescape")
    texts = FOLDABLE.split(text, _MOST_FOLDS)
    if len(texts) == 1:
        return None
    if len(texts) > 2 * _MOST_FOLDS:  # where each part stands is asked later, if at all
        return View(fold(text).encode("utf-8", "surrogateescape"), lambda: _folds_of(text), _WIDTHS)
    split = _folded_parts(texts)
    return View("".join(split[1]).encode("utf-8", "surrogateescape"), lambda: split, _WIDTHS)


# Of so many the whole text is translated the quicker.
_MOST_FOLDS: Final = 4096


def _folds_of(text: str) -> tuple[list[str], list[str]]:
    return _folded_parts(FOLDABLE.split(text))


def _folded_parts(texts: list[str]) -> tuple[list[str], list[str]]:
    meant = texts.copy()
    meant[1::2] = map(_FOLDS.__getitem__, texts[1::2])
    return texts, meant


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
