"""Own rules: what a site looks for beside the built-in classes, from a file of its own.

Touches that file only. A rule is checked against its own examples before it is used. The file is TOML:

    [[rule]]
    name = "employee_number"           # stands in place of what it finds: <employee_number>
    pattern = 'EMP-[0-9]{6}'           # RE2 syntax, so that time stays linear in the text
    finds = ["EMP-123456"]             # in each of these something must be found
    passes = ["EMP-12"]                # in these nothing may be found
    action = "mask"                    # or "hash", "drop", "last4"
"""

import re
import tomllib
from dataclasses import dataclass
from typing import Any, Final

import re2

from infertap.setting_files import UnusableFileError, read_file
from sidecar.config import REDACTION_CLASSES, VALUE_ACTIONS
from sidecar.recorder.redaction.locating import Pattern
from sidecar.recorder.redaction.scanner import Scanner
from sidecar.recorder.redaction.shapes import Shape

_SETTING: Final = "INFERTAP_REDACT_RULES_FILE"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MEMBERS: Final = frozenset({"name", "pattern", "finds", "passes", "action"})
_MOST_RULES: Final = 200
_MOST_PATTERN: Final = 2000
_MOST_FILE_BYTES: Final = 1 << 20


class RulesFileError(Exception):
    """The file can't be used; the message has a line for each fault."""


class _FaultError(Exception):
    """One rule's fault."""


@dataclass(frozen=True, slots=True)
class OwnRule:
    """One rule of the file."""

    shape: Shape
    action: str


def read_own_rules(path: str | None) -> tuple[OwnRule, ...]:
    """The rules in the file at `path`; none without one. Raises RulesFileError."""
    if path is None:
        return ()
    try:
        listed = tomllib.loads(read_file(path, _MOST_FILE_BYTES).decode())
    except UnusableFileError as error:
        raise RulesFileError(f"{_SETTING}: {error}") from None
    except ValueError as error:
        raise RulesFileError(f"{_SETTING}: {path}: no TOML: {error}") from None
    rules = listed.get("rule", [])
    if set(listed) - {"rule"} or not isinstance(rules, list) or len(rules) > _MOST_RULES:
        raise RulesFileError(f"{_SETTING}: {path}: expected [[rule]] tables, at most {_MOST_RULES}")
    return _checked(rules, path)


def _checked(listed: list[Any], path: str) -> tuple[OwnRule, ...]:
    rules: list[OwnRule] = []
    faults: list[str] = []
    for number, each in enumerate(listed, 1):
        try:
            rules.append(_rule(each, {rule.shape.kind for rule in rules}))
        except _FaultError as fault:
            faults.append(f"{_SETTING}: {path}: rule {number}: {fault}")
    if faults:
        raise RulesFileError("\n".join(faults))
    return tuple(rules)


def _rule(said: Any, names: set[str]) -> OwnRule:
    if not isinstance(said, dict) or set(said) - _MEMBERS:
        raise _FaultError(f"expected only {', '.join(sorted(_MEMBERS))}")
    name, action = said.get("name"), said.get("action", "mask")
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise _FaultError("name: expected small letters, digits and underscores")
    if name in names or name in REDACTION_CLASSES:
        raise _FaultError(f"name: {name} is taken")
    if action not in VALUE_ACTIONS:
        raise _FaultError(f"action: expected one of {', '.join(VALUE_ACTIONS)}")
    shape = _shape(name, said.get("pattern"))
    _try_examples(shape, _texts(said, "finds"), _texts(said, "passes"))
    return OwnRule(shape, action)


def _texts(said: dict[str, Any], member: str) -> list[str]:
    texts = said.get(member, [])
    if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
        raise _FaultError(f"{member}: expected a list of texts")
    return texts


def _shape(name: str, pattern: Any) -> Shape:
    if not isinstance(pattern, str) or not 0 < len(pattern) <= _MOST_PATTERN:
        raise _FaultError(f"pattern: expected a text of at most {_MOST_PATTERN} characters")
    shape = Shape(name, f"(?:{pattern})", f"(?P<it>{pattern})")
    try:
        found = Pattern(shape).matches(b"")
    except re2.error as error:
        raise _FaultError(f"pattern: not RE2 syntax: {error}") from None
    if next(found, None) is not None:
        raise _FaultError("pattern: it matches nothing at all, and so everywhere")
    return shape


def _try_examples(shape: Shape, finds: list[str], passes: list[str]) -> None:
    scanner = Scanner((), (shape,))
    if not finds:
        raise _FaultError("finds: expected at least one example")
    for number, text in enumerate(finds, 1):
        if not scanner.spans(text.encode()):
            raise _FaultError(f"finds: nothing is found in example {number}")
    for number, text in enumerate(passes, 1):
        if scanner.spans(text.encode()):
            raise _FaultError(f"passes: something is found in example {number}")
