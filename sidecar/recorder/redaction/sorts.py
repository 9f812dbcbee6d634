"""Sorts: what a body is, whatever its content type calls it.

Pure. A language model's answer may come as events or lines that are called plain text, or JSON; and as an
array that was cut. Read as one text its values would hide, spread over the pieces.
"""

import json
import re
from typing import Final

from sidecar.recorder.redaction.holes import Stretch

_EVENTS: Final = "text/event-stream"
_LINES: Final = "application/x-ndjson"
_SPACE: Final = b"\xef\xbb\xbf \t\r\n"
_FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")
# Every line is a field, a comment or empty (HTML standard, 9.2.6). The last one may be cut.
_match_events: Final = re.compile(
    rb"(?:(?:data|event|id|retry)?:[^\r\n]*+(?:[\r\n]++|\Z)|[\r\n]++)++(?:[a-z]{0,5}\Z)?"
).fullmatch
_OPENS: Final = re.compile(r"\s*\[\s*(?=\{)")
_COMMA: Final = re.compile(r"\s*,\s*")
_decode: Final = json.JSONDecoder().raw_decode


def sort_of(media_type: str, stretch: Stretch) -> str:
    """`media_type`, or what is there in truth: events, or lines of JSON where that does not show later."""
    start = stretch.head[:64].lstrip(_SPACE)
    if media_type != _EVENTS and start.startswith(_FIELDS) and _match_events(stretch.head.lstrip(_SPACE)):
        return _EVENTS
    is_doubtful = bool(stretch.head_ends) or media_type == _EVENTS
    if is_doubtful and begins_with_a_line(stretch.head):
        return _LINES
    return media_type


def begins_with_a_line(data: bytes) -> bool:
    """Whether the first line is a JSON object, and another one seems to follow it."""
    if not data[:64].lstrip(_SPACE).startswith(b"{"):
        return False
    first, end, following = data.lstrip(_SPACE).partition(b"\n")
    if not end or not following.lstrip(_SPACE).startswith(b"{"):
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return True


def first_members(text: str) -> list[str]:
    """The members of an array of objects as far as they can be read; none where it is no such array."""
    opens = _OPENS.match(text)
    place = opens.end() if opens else len(text)
    members = []
    try:
        while text.startswith("{", place):
            _, end = _decode(text, place)
            members.append(text[place:end])
            comma = _COMMA.match(text, end)
            place = comma.end() if comma else len(text)
    except (ValueError, RecursionError):
        pass  # the rest is left out
    return members
