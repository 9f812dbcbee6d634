"""Events: redacts bodies that are many JSON documents: server-sent events and JSON Lines.

A language model sends its answer token by token, so a value may begin in one event and end in a later one.
What stands at the same place of each event is therefore joined over all events before it is looked at.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from os.path import commonprefix
from typing import Any, Final

from sidecar.recorder.redaction.findings import Findings
from sidecar.recorder.redaction.holes import WHOLE, Ends, is_whole, less_edges
from sidecar.recorder.redaction.masks import mask
from sidecar.recorder.redaction.text import TextRedaction
from sidecar.recorder.redaction.tree import (
    MAX_DEPTH,
    TooDeepError,
    TreeRedaction,
    holds_no_text,
    repeats_a_key,
)

# Where a string stands: the keys that lead to it, with a choice's own index instead of its position.
_Place = tuple[str | int, ...]
# A string: what holds it, and under which key.
_Spot = tuple[Any, str | int]

NOT_JSON: Final = object()
_NUMBERS: Final = ("content_index", "summary_index")
# What ends a stream of OpenAI's.
DONE: Final = "[DONE]"
# What begins as a document does; `[DONE]` does not.
_LIKE_JSON: Final = re.compile(r"\s*(?:\{|\[\s*[\[{\"])")
# Stands in place of a document that is broken.
_BROKEN: Final = mask("malformed")


class EventsRedaction:
    """Redacts a sequence of documents that are parts of one text."""

    def __init__(self, text: TextRedaction, tree: TreeRedaction) -> None:
        self._text = text
        self._tree = tree

    def redact(  # noqa: PLR0917
        self,
        payloads: Sequence[str],
        where: str,
        findings: Findings,
        is_clean: Callable[[bytes], bool],
        reads_as_text: Callable[[bytes], bool],
        ends: Ends = WHOLE,
    ) -> list[tuple[str, Any]]:
        """Each payload redacted, and its document; NOT_JSON where it is none. Raises TooDeepError.

        `is_clean` tells of JSON text that nothing can be found in it: what is clean may go as it is.
        `reads_as_text` tells of JSON that is broken whether it may be redacted as text; else it is left out.
        """
        documents = [_read(payload) for payload in payloads]
        before = findings.total
        if ends:
            payloads = _less_edges(payloads, documents, ends)
        payloads = self._plain_joined(payloads, documents, where, findings)
        self._redact_joined(documents, where, findings)
        joined_found = findings.total > before
        if not joined_found and is_clean(_less_repeated(payloads, documents).encode()):
            return list(zip(payloads, documents, strict=True))
        redacted = []
        for payload, document in zip(payloads, documents, strict=True):
            if not joined_found and is_clean(payload.encode()):
                redacted.append((payload, document))
                continue
            if document is NOT_JSON:
                is_open = not _LIKE_JSON.match(payload) or reads_as_text(payload.encode("utf-8", "replace"))
                text = self._text.text(payload, where, findings) if is_open else _BROKEN
                redacted.append((text, NOT_JSON))
                continue
            before = findings.total
            tree = self._tree.redact(document, where, findings)
            is_same = not joined_found and findings.total == before and not repeats_a_key(payload)
            redacted.append((payload if is_same else _write(tree), tree))
        return redacted

    def trees(
        self, documents: Sequence[Any], where: str, findings: Findings, ends: Ends = WHOLE
    ) -> tuple[Any, ...]:
        """The same for documents that are decoded already; changes them on the way. Raises TooDeepError."""
        if ends:
            _take_edges(documents, ends)
        self._redact_joined(documents, where, findings)
        return tuple(self._tree.redact(document, where, findings) for document in documents)

    def _plain_joined(
        self, payloads: Sequence[str], documents: Sequence[Any], where: str, findings: Findings
    ) -> Sequence[str]:
        """`payloads`; those that are plain text redacted where something is spread over several of them."""
        plain = [number for number, document in enumerate(documents) if document is NOT_JSON]
        if len(plain) < 2:
            return payloads
        redacted = list(payloads)
        joined = self._text.joined([payloads[number] for number in plain], where, findings)
        for number, text in zip(plain, joined, strict=True):
            redacted[number] = text
        return redacted

    def _redact_joined(self, documents: Sequence[Any], where: str, findings: Findings) -> None:
        """Redact in place what is spread over several documents: of each text, where they say whose pieces
        they are, for pieces of several texts may come in turns; and of all.
        """
        for spots in (*_numbered_places(documents), *_places(documents).values()):
            parts = [holder[key] for holder, key in spots]
            if len(parts) < 2 or all(part == parts[0] for part in parts):
                continue
            for (holder, key), part in zip(spots, self._text.joined(parts, where, findings), strict=True):
                holder[key] = part


def _less_repeated(payloads: Sequence[str], documents: Sequence[Any]) -> str:
    """`payloads` as one text, in which what all documents begin with stands once: the head of a stream's
    events, ids among it. It is cut where a member begins, so that no string, nor its name, is cut in two.
    """
    alike = [
        payload for payload, document in zip(payloads, documents, strict=True) if document is not NOT_JSON
    ]
    head = commonprefix((min(alike), max(alike))) if len(alike) > 1 else ""  # noqa: RUF071
    start = head.rfind('{"')
    if start <= 0:
        return "\n".join(payloads)
    others = [payload for payload, document in zip(payloads, documents, strict=True) if document is NOT_JSON]
    return "\n".join([alike[0], *others, *(payload[start:] for payload in alike)])


def _places(documents: Sequence[Any]) -> dict[_Place, list[_Spot]]:
    """Where strings stand in `documents`: for each place what holds them, and under which key."""
    root = _Step()
    for document in documents:
        if isinstance(document, dict | list):
            root.note(document)
    return dict(root.places())


def _numbered_places(documents: Sequence[Any]) -> Iterator[list[_Spot]]:
    """The same for those of OpenAI's responses, by the numbers of the item and part that they go on."""
    numbered: dict[tuple[Any, ...], list[Any]] = {}
    for document in documents:
        if isinstance(document, dict) and isinstance(document.get("output_index"), int):
            numbers = (document["output_index"], *map(str, map(document.get, _NUMBERS)))
            numbered.setdefault(numbers, []).append(document)
    if len(numbered) > 1:
        for listed in numbered.values():
            yield from _places(listed).values()


def _less_edges(payloads: Sequence[str], documents: Sequence[Any], ends: Ends) -> list[str]:
    """`payloads` without the texts beside a hole; their documents are changed in place."""
    kept = list(payloads)
    plain = [number for number, document in enumerate(documents) if document is NOT_JSON]
    texts = less_edges([payloads[number] for number in plain], ends)
    for number, text in zip(plain, texts, strict=True):
        kept[number] = text if payloads[number] != DONE else DONE
    if _take_edges(documents, ends):
        for number, document in enumerate(documents):
            if document is not NOT_JSON:
                kept[number] = _write(document)
    return kept


def _take_edges(documents: Sequence[Any], ends: Ends) -> bool:
    """Take what stands beside a hole out of `documents`, in place; whether there was anything."""
    found = False
    for place, spots in _places(documents).items():
        parts = [holder[key] for holder, key in spots]
        if is_whole(place, parts):
            continue
        found = True
        for (holder, key), part in zip(spots, less_edges(parts, ends), strict=True):
            holder[key] = part
    return found


def _read(payload: str) -> Any:
    text = payload.strip()
    if not text.startswith(("{", "[")):
        return NOT_JSON
    try:
        return json.loads(text)
    except ValueError:
        return NOT_JSON
    except RecursionError:
        raise TooDeepError from None


def _write(tree: Any) -> str:
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"))


class _Step:
    """A step to where strings stand: those that stand there, and the steps that go on from there."""

    __slots__ = ("further", "spots")

    def __init__(self) -> None:
        self.spots: list[_Spot] = []
        self.further: dict[str | int, _Step] = {}

    def note(self, node: Any, depth: int = 0) -> None:
        """The strings under `node`, which is an object or an array."""
        if depth > MAX_DEPTH:
            raise TooDeepError
        is_list = isinstance(node, list)
        if is_list and holds_no_text(node):
            return
        members: Iterable[tuple[str | int, Any]] = enumerate(node) if is_list else node.items()
        for key, member in members:
            if isinstance(member, str):
                self._to(key).spots.append((node, key))
            elif isinstance(member, dict):
                index = member.get("index") if is_list else None
                self._to(index if isinstance(index, int) else key).note(member, depth + 1)
            elif isinstance(member, list):
                self._to(key).note(member, depth + 1)

    def _to(self, key: str | int) -> "_Step":
        step = self.further.get(key)
        if step is None:
            step = self.further[key] = _Step()
        return step

    def places(self, place: _Place = ()) -> Iterator[tuple[_Place, list[_Spot]]]:
        """Each place from here on, with what stands there."""
        for key, step in self.further.items():
            if step.spots:
                yield (*place, key), step.spots
            if step.further:
                yield from step.places((*place, key))
