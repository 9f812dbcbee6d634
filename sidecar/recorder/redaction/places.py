"""Places: where strings stand in documents that are pieces of one text, such as a stream's events.

Pure. A place is the keys that lead to it, with the own index of what an array lists (`choices[].index`) in
place of its position. Documents of a stream are mostly built alike, so they are read column by column, which
C does, and member by member only where they differ.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, Final

from sidecar.recorder.redaction.tree import MAX_DEPTH, TooDeepError, holds_no_text

# The keys that lead there.
Place = tuple[str | int, ...]

_TEXTS: Final = {str}
_OBJECTS: Final = {dict}
_ARRAYS: Final = {list}
_STRUCTURES: Final = (dict, list)
_KINDS: Final = (str, dict, list)
# Objects that have a smaller part of all their keys than this are read member by member.
_SPARSE: Final = 8


@dataclass(frozen=True, slots=True)
class Column:
    """The strings of one place, in the order of the documents: what holds each, and under which key."""

    place: Place
    holders: Sequence[Any]
    key: str | int
    parts: Sequence[str]

    def is_alike(self) -> bool:
        """Whether all say the same, as ids and names do."""
        return self.parts.count(self.parts[0]) == len(self.parts)

    def put(self, parts: Sequence[str]) -> None:
        """Write `parts`, as many as there are, into the documents."""
        for holder, part in zip(self.holders, parts, strict=True):
            holder[self.key] = part


def columns(documents: Sequence[Any]) -> Iterator[Column]:
    """The strings in those of `documents` that are objects or arrays. Raises TooDeepError.

    The documents' strings may be changed by who is given a column, not their structure.
    """
    roots = [document for document in documents if isinstance(document, _STRUCTURES)]
    waiting: list[tuple[Place, Sequence[Any]]] = [((), roots)]
    for place, nodes in waiting:  # which grows on the way
        if len(place) > MAX_DEPTH:
            raise TooDeepError
        for step in _steps(nodes):
            here = (*place, step.key)
            if step.parts:
                yield Column(here, step.holders, step.key, step.parts)
            if step.further:
                waiting.append((here, step.further))


class _Step:
    """What stands under one key: strings, and what more of them stand in."""

    __slots__ = ("further", "holders", "key", "parts")

    def __init__(self, key: str | int) -> None:
        self.key = key
        self.holders: list[Any] = []
        self.parts: list[str] = []
        self.further: list[Any] = []

    def note(self, holder: Any, member: Any) -> None:
        """`member` is a string or a structure."""
        if isinstance(member, str):
            self.holders.append(holder)
            self.parts.append(member)
        else:
            self.further.append(member)


def _steps(nodes: Sequence[Any]) -> Iterable[_Step]:
    kinds = {*map(type, nodes)}
    if kinds == _OBJECTS:
        return _of_objects(nodes)
    inner = _inner(nodes) if kinds == _ARRAYS else None
    return _of_any(nodes) if inner is None else (inner,)


def _of_objects(objects: Sequence[dict[str, Any]]) -> Iterable[_Step]:
    keys = dict.fromkeys(chain.from_iterable(objects))
    members = sum(map(len, objects))
    if members == len(keys) * len(objects):
        return [_column(key, objects) for key in keys]
    if members * _SPARSE < len(keys) * len(objects):  # else the time would grow with the square
        return _of_any(objects)
    return [_column(key, [each for each in objects if key in each]) for key in keys]


def _column(key: str, objects: Sequence[dict[str, Any]]) -> _Step:
    """Of objects that all have it."""
    step = _Step(key)
    members = list(map(itemgetter(key), objects))
    kinds = {*map(type, members)}
    if kinds == _TEXTS:
        step.holders, step.parts = list(objects), members
    elif kinds in (_OBJECTS, _ARRAYS):
        step.further = members
    elif not kinds.isdisjoint(_KINDS):
        step.holders = [each for each in objects if isinstance(each[key], str)]
        step.parts = [member for member in members if isinstance(member, str)]
        step.further = [member for member in members if isinstance(member, _STRUCTURES)]
    return step


def _inner(arrays: Sequence[list[Any]]) -> _Step | None:
    """Of arrays of one object each, with the same index."""
    if {*map(len, arrays)} != {1}:
        return None
    objects = [array[0] for array in arrays]
    if {*map(type, objects)} != _OBJECTS:
        return None
    indexes = [each.get("index") for each in objects]
    if indexes.count(indexes[0]) < len(indexes):
        return None
    step = _Step(indexes[0] if isinstance(indexes[0], int) else 0)
    step.further = objects
    return step


def _of_any(nodes: Sequence[Any]) -> Iterable[_Step]:
    steps: dict[str | int, _Step] = {}
    for node in nodes:
        if isinstance(node, dict):
            for key, member in node.items():
                _note(steps, key, node, member)
        elif isinstance(node, list) and not holds_no_text(node):
            for position, member in enumerate(node):
                index = member.get("index") if isinstance(member, dict) else None
                _note(steps, index if isinstance(index, int) else position, node, member)
    return steps.values()


def _note(steps: dict[str | int, _Step], key: str | int, holder: Any, member: Any) -> None:
    if not isinstance(member, _KINDS):
        return
    step = steps.get(key)
    if step is None:
        step = steps[key] = _Step(key)
    step.note(holder, member)
