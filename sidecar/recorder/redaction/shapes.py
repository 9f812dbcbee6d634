"""Shapes: what a class of data looks like, as a pattern and what is asked of its candidates.

Patterns run on RE2, whose time is linear in the text whatever the text is. They see UTF-8 as bytes. RE2 looks
neither ahead nor behind, so a pattern may begin with the byte before, or with words that tell what follows:
what is meant is its only group, `it`; what must not follow is asked afterwards.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

Check = Callable[[bytes], bool]
# From a candidate to the parts of it that count, as offsets within it.
Narrow = Callable[[bytes], Iterator[tuple[int, int]]]

ALNUM: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# The byte before, for what must stand alone. After a full stop it may be a fraction: see `follows`.
APART: Final = r"(?:^|[^0-9A-Za-z])"
_FULL_STOP: Final = ord(".")
# What the full stop behind it ends is no number: a word, a quotation, other dots.
ENDED: Final = ALNUM[10:] + b".)]}\"'>*!?" + bytes(range(0x80, 0x100))


def follows(data: bytes, start: int) -> bool:
    """Whether what begins at `start` is a fraction or the rest of a version: 0.5, 1.2, .5."""
    return start > 0 and data[start - 1] == _FULL_STOP and (start == 1 or data[start - 2] not in ENDED)


def hint_of(words: str) -> str:
    """A hint for words that are alternatives of a pattern, also where they are part of a member's name."""
    alone = [
        word.removeprefix(r"\b").removesuffix(r"\b") for word in words.split("|") if word.startswith(r"\b")
    ]
    humps = "".join(f"|[a-z0-9]{word[0].upper()}{word[1:]}" for word in alone)
    return f"(?i:{words})".replace(r"\b", "(?:^|[^a-z]|$)") + humps


@dataclass(frozen=True, slots=True)
class Shape:
    """One pattern of a class. `hint` is in every match and quick to look for; `ends` must not follow one.

    A candidate counts where it satisfies `check`; or the parts of it count that `narrow` tells.
    """

    kind: str
    hint: str
    pattern: str
    check: Check | None = None
    ends: bytes = b""
    narrow: Narrow | None = None
    # No match is longer than a line: an engine that tries again and again loses little time on each.
    is_short: bool = False
    # It is none where it follows a full stop as a fraction does.
    is_alone: bool = False
    # As `narrow`, from some place on: of a whole text too, which costs less than its many candidates do.
    rows: Callable[[bytes, int], Iterator[tuple[int, int]]] | None = None
