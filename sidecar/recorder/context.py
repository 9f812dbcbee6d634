"""Context: the business facts of a call, from where the settings say that they stand. Pure.

Facts are read from what is redacted already. The user's and the session's are keyed hashes: in a document
the redaction puts them there (`hashed_fields`), in a header or the query they are hashed here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

from sidecar.config import ContextField, FieldRule
from sidecar.recorder.bodies import value_of
from sidecar.recorder.json_text import json_text
from sidecar.recorder.read_body import Fields
from sidecar.recorder.redaction import Findings, Redactor, Step, read_path

_WHO: Final = frozenset({"user", "session"})
_HASHED: Final = "hmac:"
_MOST_TAGS: Final = 64
_MOST_CHARACTERS: Final = 1024


@dataclass(slots=True)
class Facts:
    """What is known of a call's business."""

    user: str = ""
    session: str = ""
    cohort: str = ""
    application_version: str = ""
    intent: str = ""
    tags: list[str] = field(default_factory=list)
    # By the names that the settings gave.
    others: dict[str, str] = field(default_factory=dict)

    def note(self, name: str, value: Any) -> None:
        """`value` is the fact of that name; the first that says something stays."""
        if name == "tags":
            self.tags = self.tags or _texts(value)
        elif name in _NAMED:
            if not getattr(self, name):
                setattr(self, name, _text(value))
        elif text := _text(value):
            self.others.setdefault(name, text)


_NAMED: Final = frozenset({"user", "session", "cohort", "application_version", "intent"})


def hashed_fields(fields: Sequence[ContextField]) -> tuple[FieldRule, ...]:
    """The rules by which documents hold hashes where users and sessions stand."""
    return tuple(
        FieldRule(each.path, "hash") for each in fields if each.origin == "json" and each.name in _WHO
    )


class ContextReader:
    """Reads facts by the settings of one sidecar."""

    def __init__(self, fields: Sequence[ContextField], redactor: Redactor) -> None:
        self._redactor = redactor
        self._outside = [each for each in fields if each.origin != "json"]
        self._inside = [(each.name, read_path(each.path)) for each in fields if each.origin == "json"]

    def read(self, headers: Fields, query: str, documents: tuple[Any, ...], findings: Findings) -> Facts:
        """The facts of one call: its request's header fields, query and redacted documents."""
        facts = Facts()
        parameters = dict(parse_qsl(query)) if self._outside and query else {}
        for each in self._outside:
            if each.origin == "header":
                raw = value_of(headers, each.path.encode())
            else:
                raw = parameters.get(each.path, "").encode("utf-8", "replace")
            if raw:
                facts.note(each.name, self._outer(each, raw, findings))
        for name, steps in self._inside:
            for document in documents[:1]:
                facts.note(name, _only_hash(name, _at(document, steps)))
        return facts

    def _outer(self, source: ContextField, raw: bytes, findings: Findings) -> str:
        if source.name in _WHO:
            return self._redactor.keyed_hash(raw)
        return self._redactor.header(source.path, raw, "context", findings)


def _only_hash(name: str, value: Any) -> Any:
    """Who it was is told by a hash or not at all."""
    if name in _WHO and not (isinstance(value, str) and value.startswith(_HASHED)):
        return None
    return value


def _at(document: Any, steps: Sequence[Step]) -> Any:
    """What stands at a path; of several the first."""
    for step in steps:
        if isinstance(document, dict):
            document = next(iter(document.values()), None) if step is None else document.get(step)
        elif isinstance(document, list):
            place = 0 if step is None else step
            document = document[place] if isinstance(place, int) and place < len(document) else None
        else:
            return None
    return document


def _text(value: Any) -> str:
    if value is None:
        return ""
    return (value if isinstance(value, str) else json_text(value))[:_MOST_CHARACTERS]


def _texts(value: Any) -> list[str]:
    """A list's members, or a text's parts between commas."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if not isinstance(value, list):
        return []
    return [text for text in map(_text, value[:_MOST_TAGS]) if text]
