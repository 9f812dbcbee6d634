"""Multipart: redacts bodies of several parts (RFC 2046, section 5.1; RFC 7578), each by its name and type.

Pure. What comes out is written anew: the parts with what was masked, of their headers those that say what a
part is, the boundary as it was. What stands before the first part and behind the last is left out.

    --boundary CRLF (name: value CRLF)* CRLF body CRLF ... --boundary-- CRLF
"""

import base64
import quopri
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sidecar.recorder.redaction.charset import as_utf8
from sidecar.recorder.redaction.findings import Findings
from sidecar.recorder.redaction.holes import WHOLE, Ends
from sidecar.recorder.redaction.named_values import NamedValues
from sidecar.recorder.redaction.redacted_body import RedactedBody, UnreadableError, Withheld
from sidecar.recorder.redaction.text import TextRedaction

_BOUNDARY: Final = re.compile(r"""boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;,"]{1,200}))""", re.IGNORECASE)
_MOST_PARTS: Final = 1000
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n|\A\r?\n")
_FOLD: Final = re.compile(rb"\r?\n[ \t]+")
_NAME: Final = re.compile(r';\s*name\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)
_FILE_NAME: Final = re.compile(r";\s*filename\*?\s*=", re.IGNORECASE)
# What of a part's head is kept.
_KEPT: Final = ("content-disposition", "content-type", "content-id")


@dataclass(frozen=True, slots=True)
class _Part:
    # By lower-case name.
    head: dict[str, str]
    body: bytes

    @property
    def name(self) -> str:
        """Of a form's field."""
        found = _NAME.search(self.head.get("content-disposition", ""))
        return (found[1] or found[2] or "") if found else ""

    @property
    def is_file(self) -> bool:
        return _FILE_NAME.search(self.head.get("content-disposition", "")) is not None


class MultipartRedaction:
    """Redacts multipart bodies by one policy."""

    def __init__(
        self,
        text: TextRedaction,
        values: NamedValues,
        redact: Callable[[str, bytes, Findings], RedactedBody],
    ) -> None:
        """`redact` does so for a part that has a type, or is of any."""
        self._text = text
        self._values = values
        self._redact = redact

    def redact(self, content_type: str, data: bytes, ends: Ends, findings: Findings) -> bytes | None:
        """`data` redacted; None where it has no parts as `content_type` says. Raises UnreadableError."""
        said = _BOUNDARY.search(content_type)
        if said is None:
            return None
        if ends.opens:  # the part that it begins in has its head elsewhere
            raise UnreadableError(Withheld.CUT)
        boundary = (said[1] or said[2]).encode("latin-1", "replace")
        parts = _parts(data, boundary, ends.closes)
        if parts is None:
            return None
        shown = self._text.raw(boundary, "body", findings)
        out = []
        for part in parts:
            if self._values.is_dropped(part.name):
                findings.add("field", "body")
            else:
                out += [b"--", shown, b"\r\n", *self._part(part, findings), b"\r\n"]
        return b"".join((*out, b"--", shown, b"--\r\n"))

    def _part(self, part: _Part, findings: Findings) -> list[bytes]:
        head = [
            f"{name.title()}: {self._text.text(part.head[name], 'body', findings)}\r\n".encode(
                "utf-8", "replace"
            )
            for name in _KEPT
            if name in part.head
        ]
        return [*head, b"\r\n", self._body(part, findings)]

    def _body(self, part: _Part, findings: Findings) -> bytes:
        body = _decoded(part)
        decided = self._values.by_name(part.name, body.decode("utf-8", "replace"), "body", findings)
        if decided is not None:
            return decided.encode("utf-8", "replace")
        content_type = part.head.get("content-type", "")
        is_field = not part.is_file and content_type.partition(";")[0].strip().lower() in ("", "text/plain")
        text = as_utf8(body, content_type, WHOLE) if is_field else None
        if text is not None and text.lstrip()[:1] not in (b"{", b"["):
            return (self._values.value(part.name, text.decode(), "body", findings) or "").encode(
                "utf-8", "replace"
            )
        redacted = self._redact(content_type, body, findings)
        if redacted.withheld is None:
            return redacted.data
        return f"<{redacted.withheld}: {len(body)} bytes>".encode()


def _parts(data: bytes, boundary: bytes, is_cut: bool) -> list[_Part] | None:
    """The parts of `data` that are whole; None where there are none. Raises UnreadableError."""
    lines = re.compile(rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|\Z)")
    parts: list[_Part] = []
    start = -1
    for line in lines.finditer(data):
        if start >= 0:
            parts.append(_read(data[start : line.start()]))
        if line[1]:
            return parts
        if len(parts) > _MOST_PARTS:
            raise UnreadableError(Withheld.MALFORMED)
        start = line.end()
    if start < 0:
        return None
    if not is_cut:  # some readers take what follows for a part
        raise UnreadableError(Withheld.MALFORMED)
    return parts


def _read(part: bytes) -> _Part:
    """A part from the end of its boundary's line. Raises UnreadableError."""
    inner = part.removeprefix(b"\r").removeprefix(b"\n")
    end = _HEAD_END.search(inner)
    if end is None:
        raise UnreadableError(Withheld.MALFORMED)
    head: dict[str, str] = {}
    for line in _FOLD.sub(b" ", inner[: end.start()]).splitlines():
        name, _, value = line.decode("utf-8", "replace").partition(":")
        if head.setdefault(name.strip().lower(), value.strip()) != value.strip():
            raise UnreadableError(Withheld.MALFORMED)  # of two headers readers take one or the other
    if len(_NAME.findall(head.get("content-disposition", ""))) > 1:
        raise UnreadableError(Withheld.MALFORMED)
    return _Part(head, inner[end.end() :])


def _decoded(part: _Part) -> bytes:
    """The body with its transfer encoding undone, where it can be."""
    encoding = part.head.get("content-transfer-encoding", "").lower()
    if encoding == "base64":
        try:
            return base64.b64decode(part.body)
        except ValueError:
            return part.body
    return quopri.decodestring(part.body) if encoding == "quoted-printable" else part.body
