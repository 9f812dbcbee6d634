"""Named values: redacts what stands under a name outside of JSON: parameters, form fields, cells of a column.

Pure.
"""

from collections.abc import Sequence
from typing import Final

from sidecar.recorder.redaction.fields import is_secret_name
from sidecar.recorder.redaction.findings import Findings
from sidecar.recorder.redaction.masks import last_four, mask
from sidecar.recorder.redaction.names import words_that_tell
from sidecar.recorder.redaction.policy import Policy
from sidecar.recorder.redaction.text import TextRedaction

_FIELD: Final = "field"
_SECRET: Final = "secret"  # noqa: S105


class NamedValues:
    """Redacts named values by one policy."""

    def __init__(self, policy: Policy, text: TextRedaction) -> None:
        self._fields = policy.fields
        self._key = policy.key
        self._masks_secrets = "api_key" in policy.kinds
        self._text = text

    def pairs(
        self, pairs: Sequence[tuple[str, str]], where: str, findings: Findings
    ) -> list[tuple[str, str]]:
        """Names and values, decoded: of a form, or of a query."""
        redacted = []
        for name, value in pairs:
            kept = self.value(name, value, where, findings)
            if kept is not None:
                redacted.append((self._text.text(name, where, findings), kept))
        return redacted

    def matters(self, name: str) -> bool:
        """Whether the name alone tells what becomes of its value, or what the value is."""
        return self._action(name) is not None or self._is_secret(name) or bool(words_that_tell(name))

    def by_name(self, name: str, value: str, where: str, findings: Findings) -> str | None:
        """The value where its name alone decides: empty where it is dropped; None where it does not."""
        action = self._action(name)
        if action is None and not (value and self._is_secret(name)):
            return None
        findings.add(_SECRET if action is None else _FIELD, where)
        if action is None:
            return mask(_SECRET)
        if action == "hash" and self._key is not None:
            return self._key.hash(value.encode("utf-8", "replace"))
        if action == "last4":
            return last_four(_FIELD, value)
        return "" if action == "drop" else mask(_FIELD)

    def is_dropped(self, name: str) -> bool:
        """Whether nothing of it, nor its name, goes on."""
        return self._action(name) == "drop"

    def value(self, name: str, value: str, where: str, findings: Findings) -> str | None:
        """The value of that name, redacted; None where it is dropped with its name."""
        decided = self.by_name(name, value, where, findings)
        if self.is_dropped(name):
            return None
        return self._text.member(name, value, where, findings) if decided is None else decided

    def _action(self, name: str) -> str | None:
        return self._fields.action((name,)) if self._fields else None

    def _is_secret(self, name: str) -> bool:
        return self._masks_secrets and (is_secret_name(name) or name.lower() == "token")
