"""Alike: what many events have in common is looked at once, and what is left of each only where it must be.

Pure. The events of a stream begin with the same head (ids among it), and most end alike. Whether there may be
anything to find is asked of all that is left at once, then of halves of it, until those are found that may.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import Final

# What of two texts is compared.
_MOST: Final = 2 << 10


@dataclass(frozen=True, slots=True)
class Alike:
    """Texts, of which many have a head and a tail alike."""

    # That head and that tail.
    shared: str
    # Of each text what is left; of one unlike the others that is all of it.
    rests: Sequence[str]
    # The numbers of the texts that are alike.
    members: frozenset[int]


def parted(texts: Sequence[str], is_json: Sequence[bool]) -> Alike:
    """`texts` and what many of them share, apart; `is_json` tells of each whether it is a JSON document.

    They are cut where a member begins, so that no string is cut in two, nor from its name.
    """
    documents = [number for number, flag in enumerate(is_json) if flag]
    later = documents[max(len(documents) // 2 - 1, 0) :]
    model = texts[later[0]] if later else ""
    other = next((texts[number] for number in later if texts[number] != model), None)
    if other is None:
        return Alike("", texts, frozenset())
    head, tail = _head(model, other), _tail(model, other)
    start, end, least = len(head), -len(tail) or None, len(head) + len(tail)
    rests = list(texts)
    members = []
    for number in documents:
        text = texts[number]
        if len(text) >= least and text.startswith(head) and text.endswith(tail):
            rests[number] = text[start:end]
            members.append(number)
    return Alike(f"{head}\n{tail}", rests, frozenset(members))


def _head(one: str, other: str) -> str:
    head = commonprefix((one[:_MOST], other[:_MOST]))  # noqa: RUF071
    return head[: max(head.rfind('{"'), 0)]


def _tail(one: str, other: str) -> str:
    """From a comma outside of strings: where nothing is escaped, an even number of quotes follows such."""
    tail = commonprefix((one[: -_MOST - 1 : -1], other[: -_MOST - 1 : -1]))[::-1]  # noqa: RUF071
    at = -1 if "\\" in tail else tail.find(",")
    while at >= 0 and tail.count('"', at) % 2:
        at = tail.find(",", at + 1)
    return tail[at:] if at >= 0 else ""


def suspects(texts: Sequence[str], is_clean: Callable[[bytes], bool]) -> set[int]:
    """The numbers of those of `texts` for which `is_clean` does not hold. Where it holds for several, each on
    a line of its own, it does for each of them.
    """
    found: set[int] = set()
    waiting = [(0, len(texts))]
    while waiting:
        start, end = waiting.pop()
        if start == end or is_clean("\n".join(texts[start:end]).encode()):
            continue
        if end - start == 1:
            found.add(start)
            continue
        middle = (start + end) // 2
        waiting += ((start, middle), (middle, end))
    return found
