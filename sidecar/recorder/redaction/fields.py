"""Fields: which named fields of a JSON tree are masked, hashed or dropped, and which names mean a secret.

A rule's path is a name at any depth (`password`), or leads from the root: `$.user.name`, `$.inputs[*].data`,
`$.items[0]`, `$.*.email`; or it names a tensor by its name (`tensor:age`), or a header (`header:x-customer`).
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from sidecar.config import FieldRule

# One step of a path: a key, an index, or None for any.
Step = str | int | None

_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\*|\d+)\]")

_PREFIXES: Final = ("$", "tensor:", "header:")

# Names whose values are secrets whatever they look like. Not "token" alone: language models speak of tokens.
_SECRET_NAME: Final = re.compile(
    r"(?:.*[_.-]|.*(?-i:[a-z0-9](?=[A-Z])))?(?:api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key|client[_-]?secret|secret"
    r"|passw(?:or)?d|passphrase|pwd|(?:access|auth|api|refresh|id|session|bearer|csrf|security)[_-]?token"
    r"|authorization|credentials?|cookie)",
    re.IGNORECASE,
)


def is_secret_name(name: str) -> bool:
    """Whether a field, parameter or header of that name holds a secret."""
    return _SECRET_NAME.fullmatch(name) is not None


def read_path(path: str) -> tuple[Step, ...]:
    """The steps of a path that begins with `$`; raises ValueError."""
    steps: list[Step] = []
    place = 1
    while place < len(path):
        match = _STEP.match(path, place)
        if match is None:
            raise ValueError(f"{path!r} is no path: expected steps such as .name, [0], [*] after $")
        if match[1] is not None:
            steps.append(None if match[1] == "*" else match[1])
        else:
            steps.append(None if match[2] == "*" else int(match[2]))
        place = match.end()
    return tuple(steps)


class FieldRules:
    """The rules of a policy, ready to be asked."""

    def __init__(self, rules: Sequence[FieldRule]) -> None:
        """Raises ValueError for a path that can't be read."""
        self._by_name = {rule.path: rule.action for rule in rules if not rule.path.startswith(_PREFIXES)}
        self._by_tensor = _named(rules, "tensor:")
        self._by_header = {name.lower(): action for name, action in _named(rules, "header:").items()}
        self._by_path = [(read_path(rule.path), rule.action) for rule in rules if rule.path.startswith("$")]

    def __bool__(self) -> bool:
        return bool(self._by_name or self._by_path)

    def tensor_action(self, tensor: dict[str, Any]) -> str | None:
        """What happens to the values of an object that is a tensor: it has a name, and data."""
        name = tensor.get("name") if self._by_tensor else None
        return self._by_tensor.get(name) if isinstance(name, str) else None

    def header_action(self, name: str) -> str | None:
        """What happens to the value of a header of that name (lower case)."""
        return self._by_header.get(name)

    def action(self, path: Sequence[str | int]) -> str | None:
        """What happens to the value at `path`: mask, hash, drop, or None."""
        name = path[-1] if path else None
        if isinstance(name, str) and name in self._by_name:
            return self._by_name[name]
        for steps, action in self._by_path:
            if len(steps) == len(path) and all(
                step is None or step == at for step, at in zip(steps, path, strict=True)
            ):
                return action
        return None


def _named(rules: Sequence[FieldRule], prefix: str) -> dict[str, str]:
    return {rule.path.removeprefix(prefix): rule.action for rule in rules if rule.path.startswith(prefix)}
