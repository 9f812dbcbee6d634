"""Text redaction: the sidecar's rules for texts that are no part of a call, such as feedback.

Storage finds it by the entry point `infertap.redaction` (pyproject.toml): it may not import the sidecar, and
law 3 holds for it as well (docs/decisions/0014). Goes by the settings of redaction, which storage is given as
the sidecar is. Touches the files that they name, when it is opened.
"""

import threading
from collections.abc import Mapping

from sidecar import config
from sidecar.hash_key import HashKeyError, read_hash_key
from sidecar.recorder.redaction import Findings, Policy, Redactor, RulesFileError, read_own_rules


class TextRedaction:
    """One policy at work. Safe from any thread."""

    def __init__(self, policy: Policy) -> None:
        self.policy_version = policy.version
        self._redactor = Redactor(policy)
        self._lock = threading.Lock()

    def text(self, text: str) -> tuple[str, dict[str, int]]:
        """`text` redacted, and how often something of each class was masked."""
        findings = Findings()
        with self._lock:
            return self._redactor.text(text, "", findings), _counts(findings)

    def keyed_hash(self, text: str) -> str:
        """`text` as records have users and sessions: `hmac:KEYID:…`; empty without a key."""
        return self._redactor.keyed_hash(text.encode("utf-8", "replace"))

    def document(self, text: str, content_type: str) -> tuple[str | None, dict[str, int]]:
        """The same for a document, by what it is; None where it can't be read, and so must not be kept."""
        findings = Findings()
        with self._lock:
            body = self._redactor.body(content_type, text.encode("utf-8", "replace"), findings)
        kept = None if body.withheld is not None else body.data.decode("utf-8", "replace")
        return kept, _counts(findings)


def open_text_redaction(environ: Mapping[str, str]) -> TextRedaction:
    """Redaction as the settings in `environ` say; raises ValueError with a line for each fault."""
    settings = config.read(environ)
    try:
        key = read_hash_key(settings.hash_key_file)
        own_rules = read_own_rules(settings.redact_rules_file)
    except (HashKeyError, RulesFileError) as error:
        raise ValueError(str(error)) from None
    return TextRedaction(Policy.of(settings, key, own_rules))


def _counts(findings: Findings) -> dict[str, int]:
    counts: dict[str, int] = {}
    for each in findings.listed():
        counts[each.kind] = counts.get(each.kind, 0) + each.count
    return counts
