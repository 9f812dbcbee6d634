"""Holes: where a text goes on that is not there. A value may begin before the hole and end behind it.

Pure. Half of a value looks like nothing that a pattern knows, so what stands beside a hole is withheld: up to
the first three words that stand in a row, for no value has such inside, or EDGE characters of it. A text that
comes in pieces (the same place of many events) is judged as one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

# Longer than any value, keys in PEM included.
EDGE: Final = 4 << 10
# Stands in place of what is withheld.
WITHHELD: Final = "<cut>"

# Words without capitals or digits, a space apart, of which the whole is there. No class has such inside:
# cards, numbers and accounts hold digits; addresses, tokens and keys no spaces; what begins a key, capitals.
_WORDS: Final = re.compile(r"(?<=\s)(?:[^\W\d_A-Z]{2,20}[,;:]? ){2}[^\W\d_A-Z]{2,20}[,;:.!?]?(?=\s)")
# What comes first may be the last of a value, or the value of a name that is in the hole.
_FIRST: Final = re.compile(r"\s*\S*")
# What such members hold is whole in its event, and never a piece of a text.
_WHOLE: Final = frozenset(
    {
        "id",
        "object",
        "type",
        "event",
        "role",
        "model",
        "model_name",
        "model_version",
        "finish_reason",
        "native_finish_reason",
        "stop_reason",
        "status",
        "code",
        "param",
        "system_fingerprint",
        "service_tier",
    }
)
_WHOLE_MOST: Final = 80
_ERRORS: Final = frozenset({"error", "error_message"})


@dataclass(frozen=True, slots=True)
class Ends:
    """Whether what is there begins or ends in a hole."""

    opens: bool = False
    closes: bool = False
    # What opens does so between two events, lines or messages: the first is whole.
    is_aligned: bool = False

    def __bool__(self) -> bool:
        return self.opens or self.closes


WHOLE: Final = Ends()


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is there of a body: all of it, or its head, or head and tail with a hole between them."""

    head: bytes
    head_ends: Ends = WHOLE
    tail: bytes = b""
    tail_ends: Ends = Ends(opens=True)


def is_whole(place: Sequence[Any], parts: Sequence[str]) -> bool:
    """Whether what stands at `place` of each event is no text in pieces: names, and what errors say."""
    if not _ERRORS.isdisjoint(place):
        return True
    return place[-1] in _WHOLE and all(len(part) <= _WHOLE_MOST for part in parts)


def less_edges(parts: Sequence[str], ends: Ends) -> list[str]:
    """`parts` of one text without what stands beside a hole; as many parts."""
    text = "".join(parts)
    start = _first_words(text) if ends.opens else 0
    end = _last_words(text) if ends.closes else len(text)
    kept: list[str] = []
    place = 0
    for part in parts:
        kept.append(part[max(start - place, 0) : max(end - place, 0)])
        place += len(part)
    if start:
        _mark(kept, parts, at_end=False)
    if end < len(text):
        _mark(kept, parts, at_end=True)
    return kept


def _first_words(text: str) -> int:
    """Where a text that begins in a hole can be read from."""
    first = _FIRST.match(text)
    words = _WORDS.search(text, first.end() if first else 0, EDGE)
    return words.start() if words else min(EDGE, len(text))


def _last_words(text: str) -> int:
    """Up to where a text that ends in a hole can be read."""
    first = max(len(text) - EDGE, 0)
    end = first
    for words in _WORDS.finditer(text, first):
        end = words.end()
    return end


def _mark(kept: list[str], parts: Sequence[str], at_end: bool) -> None:
    """Show at the first part that held something, or at the last, that it is not all there."""
    numbers = range(len(parts))
    for number in reversed(numbers) if at_end else numbers:
        if parts[number]:
            kept[number] = kept[number] + WITHHELD if at_end else WITHHELD + kept[number]
            return
