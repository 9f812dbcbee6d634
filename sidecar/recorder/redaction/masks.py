"""Masks: what stands in place of a value that was found, by what the policy says of its class."""

from collections.abc import Mapping
from functools import cache
from typing import Final

from sidecar.recorder.redaction.keyed_hashes import HashKey
from sidecar.recorder.redaction.spans import Span

_SEPARATORS: Final = b" \t\r\n-./()"
_NO_SEPARATORS: Final = dict.fromkeys(_SEPARATORS)
# Of shorter values the last four characters tell too much.
_SHORTEST_KEPT: Final = 8


def mask(kind: str) -> str:
    """What stands in place of a value of that class where nothing else is said."""
    return f"<{kind}>"


@cache
def _plain(kind: str) -> bytes:
    return mask(kind).encode()


class Masks:
    """Masks by class: `mask` (by type), `hash`, `drop`, `last4`."""

    def __init__(self, actions: Mapping[str, str], key: HashKey | None) -> None:
        self._actions = actions
        self._key = key

    def of(self, span: Span) -> bytes:
        """What stands in place of `span`. Without a key what would be hashed is masked."""
        action = self._actions.get(span.kind)
        if action is None:
            return _plain(span.kind)
        if action == "drop":
            return b""
        if action == "hash" and self._key is not None and span.value:
            return self._key.hash(_normal(span)).encode()
        if action == "last4":
            return last_four(span.kind, span.value.decode("utf-8", "replace")).encode()
        return mask(span.kind).encode()


def _normal(span: Span) -> bytes:
    """The value, however it is written: so that the same one has the same hash."""
    if span.kind == "email":
        return span.value.lower().replace(b"%40", b"@")
    return span.value.translate(None, _SEPARATORS).upper()


def last_four(kind: str, value: str) -> str:
    """The mask of a class with the value's last four characters, where it is long enough to lend them."""
    compact = value.translate(_NO_SEPARATORS)
    return mask(kind) if len(compact) < _SHORTEST_KEPT else f"<{kind}:{compact[-4:]}>"
