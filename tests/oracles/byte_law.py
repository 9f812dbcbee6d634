"""Law 2, checked without the tap's own code: what went on is what came, less what the tap may add."""

import re

import hpack

from tests.oracles.http2 import CONTINUATION, END_HEADERS, HEADERS, ID, PADDED, PREFACE

_LINE = re.compile(rb"(?:x-request-id: [\x21-\x7e]{1,128}|connection: close)\r\n", re.IGNORECASE)
_CLOSE = re.compile(rb"connection:", re.IGNORECASE)
# RFC 9113, section 6.8: last stream 2**31-1, no error.
GOAWAY = b"\0\0\x08\x07\0\0\0\0\0\x7f\xff\xff\xff\0\0\0\0"


def assert_only_lines_added(
    came: bytes, went: bytes, *, may_end: bool = False, may_close: bool = False
) -> int:
    """`went` is `came` with request id lines at the end of heads; how many there are.

    It `may_end` before all that came; a head `may_close` the connection by a line more.
    """
    added = place = at = 0
    while place < len(went) or at < len(came):
        same = _common(came, at, went, place)
        at, place = at + same, place + same
        if place == len(went) and (at == len(came) or may_end):
            break
        line = _LINE.match(went, place)
        assert line, f"other bytes at {at}: {went[place : place + 60]!r} for {came[at : at + 60]!r}"
        assert may_close or not _CLOSE.match(line[0]), "closed without need"
        after = line.end()
        assert went.startswith(b"\r\n", after) or _LINE.match(went, after), "a line that does not end a head"
        assert went[:place].endswith(b"\r\n"), "a line within another"
        place = after
        added += 1
    return added


def _common(one: bytes, at: int, other: bytes, place: int) -> int:
    """How many bytes agree from there on."""
    low, high = 0, min(len(one) - at, len(other) - place)
    while low < high:
        middle = (low + high + 1) // 2
        if one[at : at + middle] == other[place : place + middle]:
            low = middle
        else:
            high = middle - 1
    return low


def assert_only_fields_added(
    came: bytes, went: bytes, *, may_end: bool = False, may_close: bool = False
) -> int:
    """`went` is `came` with request ids as literals at the end of header blocks; how many there are.

    It `may_end` before all that came; one GOAWAY more `may_close` the connection.
    """
    start = len(PREFACE) if came.startswith(PREFACE) else 0
    assert went[:start] == came[:start]
    came, went = came[start:], went[start:]
    added = 0
    while came:
        size = 9 + int.from_bytes(came[:3], "big")
        frame = came[:size]
        if may_close and went.startswith(GOAWAY) and not came.startswith(GOAWAY):
            went, may_close = went[len(GOAWAY) :], False
            continue
        if may_end and frame.startswith(went):
            return added
        came = came[size:]
        if went.startswith(frame) and (came or went == frame or may_close):
            went = went[size:]
            continue
        assert len(frame) == size, "a cut frame was changed"
        went = _after_changed_frame(frame, went)
        added += 1
    if may_close:
        went = went.removeprefix(GOAWAY)
    assert went == b"", f"more than came: {went[:60]!r}"
    return added


def _after_changed_frame(frame: bytes, went: bytes) -> bytes:
    """What comes behind the frame that `frame` became."""
    kind, flags = frame[3], frame[4]
    assert kind in (HEADERS, CONTINUATION), f"a frame of kind {kind} was changed"
    assert flags & END_HEADERS, "an id within a block"
    if went[4] == flags:
        size = int.from_bytes(went[:3], "big")
        assert went[3:9] == frame[3:9]
        padding = frame[9] if kind == HEADERS and flags & PADDED else 0
        place = len(frame) - padding
        end = 9 + size - padding
        assert went[9:place] + went[end : 9 + size] == frame[9:]
        _assert_is_id(went[place:end])
        return went[9 + size :]
    length = len(frame)
    assert went[:length] == frame[:4] + bytes((flags & ~END_HEADERS,)) + frame[5:]
    more = went[length:]
    size, more_kind, more_flags, stream = int.from_bytes(more[:3], "big"), more[3], more[4], more[5:9]
    assert (more_kind, more_flags, stream) == (CONTINUATION, END_HEADERS, frame[5:9])
    _assert_is_id(more[9 : 9 + size])
    return more[9 + size :]


def _assert_is_id(literal: bytes) -> None:
    assert literal[:1] == b"\0", "not a literal without indexing"
    [(name, _)] = hpack.Decoder().decode(literal, raw=True)
    assert name == ID
