"""Pieces: an answer that came in pieces, put together; in time that grows with the pieces, not their square.

Pure. What language models stream are objects whose texts go on from piece to piece and whose lists grow,
while names, roles and ids are whole each time.
"""

from collections.abc import Collection
from typing import Any, Final

# What is whole in each piece, or said once.
_WHOLE: Final = frozenset({"id", "type", "role", "name", "index", "call_id", "object", "format", "status"})


class Joined:
    """One object, made of pieces of it."""

    def __init__(self, whole: Collection[str] = _WHOLE) -> None:
        """Members of the names in `whole` are replaced; of others texts and lists are joined."""
        self._whole = whole
        self._members: dict[str, Any] = {}
        # Those that are made of pieces still.
        self._texts: dict[str, list[str]] = {}
        self._objects: dict[str, Joined] = {}

    def add(self, piece: dict[str, Any], without: Collection[str] = ()) -> None:
        """The next piece; null says nothing."""
        texts = self._texts
        for name, value in piece.items():
            if value is None or name in without:
                continue
            if name in texts and isinstance(value, str):  # most are such
                texts[name].append(value)
            else:
                self._add(name, value)

    def text(self, name: str, value: Any) -> None:
        """A text that goes on, whatever its name."""
        if isinstance(value, str):
            self._members.setdefault(name, "")
            self._texts.setdefault(name, []).append(value)

    def _add(self, name: str, value: Any) -> None:
        if name in self._whole:
            if value != "" or name not in self._members:
                self._members[name] = value
        elif isinstance(value, str):
            self.text(name, value)
        elif isinstance(value, dict):
            self._members.setdefault(name, {})
            self._objects.setdefault(name, Joined(self._whole)).add(value)
        elif isinstance(value, list) and isinstance(self._members.get(name), list):
            self._members[name].extend(value)
        else:
            self._members[name] = list(value) if isinstance(value, list) else value

    def put(self, name: str, value: Any) -> None:
        """A member that is whole."""
        self._texts.pop(name, None)
        self._objects.pop(name, None)
        self._members[name] = value

    def get(self, name: str) -> Any:
        """A member as it is by now."""
        if name in self._texts:
            return "".join(self._texts[name])
        return self._objects[name].whole() if name in self._objects else self._members.get(name)

    def whole(self) -> dict[str, Any]:
        """The object, its members in the order in which they came."""
        return {name: self.get(name) for name in self._members}


class Row:
    """Objects in pieces, each by its index; listed by it."""

    def __init__(self) -> None:
        self._items: dict[int, Joined] = {}

    def item(self, index: Any, otherwise: int = 0) -> Joined:
        """The object of that index, new where it is the first piece of it."""
        number = index if isinstance(index, int) and not isinstance(index, bool) else otherwise
        known = self._items.get(number)
        if known is None:
            known = self._items[number] = Joined()
        return known

    def in_order(self) -> list[Joined]:
        """Them all."""
        return [self._items[number] for number in sorted(self._items)]

    def whole(self) -> list[dict[str, Any]]:
        """Them all, put together."""
        return [item.whole() for item in self.in_order()]
