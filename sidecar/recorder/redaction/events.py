"""Events: redacts bodies that are many JSON documents: server-sent events and JSON Lines.

A language model sends its answer token by token, so a value may begin in one event and end in a later one.
What stands at the same place of each event is therefore joined over all events before it is looked at.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidecar.recorder.redaction.alike import parted, suspects
from sidecar.recorder.redaction.findings import Findings
from sidecar.recorder.redaction.holes import WHOLE, Ends, is_whole, less_edges
from sidecar.recorder.redaction.masks import mask
from sidecar.recorder.redaction.places import columns
from sidecar.recorder.redaction.text import TextRedaction
from sidecar.recorder.redaction.tree import TooDeepError, TreeRedaction, repeats_a_key

NOT_JSON: Final = object()
_NUMBERS: Final = ("content_index", "summary_index")
# What ends a stream of OpenAI's.
DONE: Final = "[DONE]"
# What begins as a document does; `[DONE]` does not.
_LIKE_JSON: Final = re.compile(r"\s*(?:\{|\[\s*[\[{\"])")
# Stands in place of a document that is broken.
_BROKEN: Final = mask("malformed")
# json.loads without its three calls for each document.
_decode: Final = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class _Asked:
    """What `redact` was asked for."""

    where: str
    findings: Findings
    is_clean: Callable[[bytes], bool]
    reads_as_text: Callable[[bytes], bool]


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
        asked = _Asked(where, findings, is_clean, reads_as_text)
        documents = [_read(payload) for payload in payloads]
        before = findings.total
        if ends:
            payloads = _less_edges(payloads, documents, ends)
        payloads = self._plain_joined(payloads, documents, where, findings)
        self.join(documents, where, findings)
        redacted = list(zip(payloads, documents, strict=True))
        if findings.total > before:  # the documents are not what the payloads say any more
            return [self._written(*each, asked) for each in redacted]
        for number in sorted(self._suspects(payloads, documents, asked)):
            redacted[number] = self._redacted(*redacted[number], asked)
        return redacted

    def _suspects(self, payloads: Sequence[str], documents: Sequence[Any], asked: _Asked) -> set[int]:
        """The numbers of those payloads in which something may be found."""
        alike = parted(payloads, [document is not NOT_JSON for document in documents])
        if asked.is_clean("\n".join((alike.shared, *alike.rests)).encode()):
            return set()
        found = suspects(alike.rests, asked.is_clean)
        others = alike.members - found
        if others and not asked.is_clean(alike.shared.encode()):
            # What they share is found in each of them, or in none: one is asked.
            one = min(others)
            doubts = Findings()
            self._tree.redact(documents[one], asked.where, doubts)
            if doubts.total or repeats_a_key(payloads[one]):
                found |= others
        return found

    def _redacted(self, payload: str, document: Any, asked: _Asked) -> tuple[str, Any]:
        """One payload and its document; the payload as it is where nothing is found in it."""
        before = asked.findings.total
        text, tree = self._written(payload, document, asked)
        if document is NOT_JSON or asked.findings.total > before or repeats_a_key(payload):
            return text, tree
        return payload, tree

    def _written(self, payload: str, document: Any, asked: _Asked) -> tuple[str, Any]:
        """One payload, written anew from its document, and that."""
        if document is not NOT_JSON:
            tree = self._tree.redact(document, asked.where, asked.findings)
            return _write(tree), tree
        is_open = not _LIKE_JSON.match(payload) or asked.reads_as_text(payload.encode("utf-8", "replace"))
        return self._text.text(payload, asked.where, asked.findings) if is_open else _BROKEN, NOT_JSON

    def trees(
        self, documents: Sequence[Any], where: str, findings: Findings, ends: Ends = WHOLE
    ) -> tuple[Any, ...]:
        """The same for documents that are decoded already; changes them on the way. Raises TooDeepError."""
        if ends:
            _take_edges(documents, ends)
        self.join(documents, where, findings)
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

    def join(self, documents: Sequence[Any], where: str, findings: Findings) -> None:
        """Redact in place what is spread over several documents: of each text, where they say whose pieces
        they are, for pieces of several texts may come in turns; and of all.
        """
        for listed in (*_numbered(documents), documents):
            for column in columns(listed):
                if not column.is_alike():
                    column.put(self._text.joined(column.parts, where, findings))


def _numbered(documents: Sequence[Any]) -> Iterable[list[Any]]:
    """Those of OpenAI's responses, by the numbers of the item and part that they go on."""
    numbered: dict[tuple[Any, ...], list[Any]] = {}
    for document in documents:
        if isinstance(document, dict) and isinstance(document.get("output_index"), int):
            numbers = (document["output_index"], *map(str, map(document.get, _NUMBERS)))
            numbered.setdefault(numbers, []).append(document)
    return numbered.values() if len(numbered) > 1 else ()


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
    for column in columns(documents):
        if not is_whole(column.place, column.parts):
            found = True
            column.put(less_edges(column.parts, ends))
    return found


def _read(payload: str) -> Any:
    text = payload.strip()
    if not text.startswith(("{", "[")):
        return NOT_JSON
    try:
        document, end = _decode(text)
    except ValueError:
        return NOT_JSON
    except RecursionError:
        raise TooDeepError from None
    return document if end == len(text) else NOT_JSON


def _write(tree: Any) -> str:
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
