"""Redactor: one policy at work on everything that a record holds."""

import functools
import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import parse_qsl, quote

from sidecar.recorder.redaction.body import BodyRedaction
from sidecar.recorder.redaction.fields import is_secret_name
from sidecar.recorder.redaction.finder import Finder
from sidecar.recorder.redaction.findings import Findings
from sidecar.recorder.redaction.holes import WHOLE, Ends, Stretch
from sidecar.recorder.redaction.masks import last_four, mask
from sidecar.recorder.redaction.named_values import NamedValues
from sidecar.recorder.redaction.policy import Policy
from sidecar.recorder.redaction.redacted_body import RedactedBody, Withheld
from sidecar.recorder.redaction.text import TextRedaction

_CREDENTIAL: Final = "credential"
# Beside what is_secret_name tells.
_CREDENTIAL_HEADERS: Final = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "set-cookie2",
        "www-authenticate",
        "proxy-authenticate",
        "authentication-info",
        "x-api-key",
        "api-key",
        "apikey",
        "x-goog-api-key",
        "x-functions-key",
        "ocp-apim-subscription-key",
        "x-amz-security-token",
        "x-forwarded-client-cert",
        "token",
        "x-token",
    }
)
_CREDENTIAL_WORD: Final = re.compile(
    r"(?:^|[-_])(?:auth|token|secret|password|apikey|signature|session)(?:$|[-_])"
)


@functools.lru_cache(maxsize=1024)
def is_credential_header(name: str) -> bool:
    """Whether a header of that name (lower case) holds a credential; such are never recorded."""
    return name in _CREDENTIAL_HEADERS or is_secret_name(name) or _CREDENTIAL_WORD.search(name) is not None


class Redactor:
    """Redacts by one policy. Every string of a record goes through one of these."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._text = TextRedaction(Finder(policy.scanner), policy.masks)
        self._values = NamedValues(policy, self._text)
        self._body = BodyRedaction(policy)

    def text(self, text: str, where: str, findings: Findings) -> str:
        """Any text, encoded or not."""
        return self.raw(text.encode("utf-8", "replace"), where, findings)

    def raw(self, data: bytes, where: str, findings: Findings) -> str:
        """The same from the wire; what is no UTF-8 is shown by `U+FFFD`. Raises OverTimeError."""
        if not data:
            return ""
        self.policy.scanner.allowed.begin(len(data))
        return self._text.raw(data, where, findings).decode("utf-8", "replace")

    def headers(
        self, fields: Iterable[tuple[bytes, bytes]], where: str, findings: Findings
    ) -> list[tuple[str, str]]:
        """Those fields that may be recorded, names in lower case; credentials are always masked."""
        kept = []
        for raw_name, raw_value in fields:
            name = raw_name.decode("latin-1").lower()
            if name not in self.policy.record_headers:
                continue
            kept.append((name, self.header(name, raw_value, where, findings)))
        return kept

    def header(self, name: str, raw_value: bytes, where: str, findings: Findings) -> str:
        """The value of a field of that name (lower case); a credential is masked whatever it looks like."""
        if is_credential_header(name):
            findings.add(_CREDENTIAL, f"{where}:{name}")
            return mask(_CREDENTIAL)
        action = self.policy.fields.header_action(name)
        if action is not None:
            findings.add("field", f"{where}:{name}")
            return self._by_rule(raw_value, action)
        if name.endswith("-bin"):  # gRPC metadata in base64, which no rule reads
            return mask("binary")
        return self.raw(raw_value, f"{where}:{name}", findings)

    def _by_rule(self, raw: bytes, action: str) -> str:
        if action == "drop":
            return ""
        if action == "last4":
            return last_four("field", raw.decode("utf-8", "replace"))
        return (self.keyed_hash(raw) if action == "hash" else "") or mask("field")

    def query(self, query: bytes, findings: Findings) -> str:
        """A query (without its `?`): what parameters of telling names hold is masked, and what is found."""
        pairs = parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True)
        if not pairs:
            return self.raw(query, "query", findings)
        self.policy.scanner.allowed.begin(len(query))
        before = findings.total
        redacted = self._values.pairs(pairs, "query", findings)
        if findings.total == before:
            return query.decode("utf-8", "replace")
        return "&".join(
            f"{quote(name, safe='<>[]')}={quote(value, safe='<>[]/:,')}" for name, value in redacted
        )

    def keyed_hash(self, value: bytes) -> str:
        """`hmac:KEYID:…`; empty without a key, for then nothing may be told."""
        return self.policy.key.hash(value) if self.policy.key and value else ""

    def body(self, content_type: str, data: bytes | Stretch, findings: Findings) -> RedactedBody:
        """A payload, its content encoding opened: whole, or what is there of it. Never raises."""
        stretch = data if isinstance(data, Stretch) else Stretch(data)
        return self._body.redact(content_type, stretch, findings)

    def documents(
        self, documents: tuple[Any, ...], findings: Findings, ends: Ends = WHOLE
    ) -> tuple[Any, ...] | Withheld:
        """Decoded messages of one direction, redacted as one text; or why that fails."""
        return self._body.documents(documents, findings, ends)

    def messages(self, payloads: list[str], findings: Findings, ends: Ends) -> list[Any] | Withheld:
        """Texts of messages of one direction, redacted as one text: documents where they are JSON; or why
        that fails.
        """
        return self._body.messages(payloads, findings, ends)

    def opaque(self, content_type: str, data: bytes) -> RedactedBody:
        """A payload that no rule can read, as INFERTAP_OPAQUE_BODIES says."""
        return self._body.opaque(content_type.partition(";")[0].strip().lower(), data)
