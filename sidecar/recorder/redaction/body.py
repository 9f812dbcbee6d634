"""Body: redacts one payload by what it is: JSON, many JSON documents, a form, text, or none of these.

Fails closed: whatever can't be read, or read in one way only, is withheld, and the reason is a value.
"""

import codecs
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import re2

from sidecar.recorder.redaction.events import NOT_JSON, EventsRedaction
from sidecar.recorder.redaction.fields import is_secret_name
from sidecar.recorder.redaction.finder import Finder
from sidecar.recorder.redaction.findings import Findings
from sidecar.recorder.redaction.holes import EDGE, WHOLE, Ends, Stretch
from sidecar.recorder.redaction.masks import mask
from sidecar.recorder.redaction.policy import Policy
from sidecar.recorder.redaction.text import TextRedaction
from sidecar.recorder.redaction.tokens import MAY_HOLD_TOKENS
from sidecar.recorder.redaction.tree import TooDeepError, TreeRedaction, masked_by_type, repeats_a_key


class Withheld(StrEnum):
    """Why a body is not in the record."""

    # By INFERTAP_OPAQUE_BODIES: no rule can read such a body.
    DIGESTED = "digested"
    DROPPED = "dropped"
    # Cut, and can't be parsed as what it is, while rules on fields ask for that.
    CUT = "cut"
    MALFORMED = "malformed"
    TOO_DEEP = "too_deep"
    # Its content encoding can't be opened.
    UNREADABLE = "unreadable"
    FAILED = "redaction_failed"
    # Something in a decoded message was masked: its view is in the record, its bytes are not.
    VIEW_ONLY = "view_only"


@dataclass(frozen=True, slots=True)
class RedactedBody:
    """What of a body goes into the record."""

    # Redacted, UTF-8 where it is text; empty where withheld.
    data: bytes = b""
    # The redacted documents, where it is JSON: one, or one for each event or line; NOT_JSON members left out.
    documents: tuple[Any, ...] = ()
    withheld: Withheld | None = None
    # Keyed hash of the raw bytes, for a body kept as a digest where there is a key.
    digest: str = ""
    # Where in `data` the tail of a body with a hole begins, or among its documents where these are all.
    tail_offset: int | None = None


class _UnreadableError(Exception):
    def __init__(self, why: Withheld) -> None:
        self.why = why


_CHARSET: Final = re.compile(r"""charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)
# Control characters that no text holds.
_CONTROLS: Final = bytes((*range(9), *range(14, 27), *range(28, 32), 127))
_LINE_END: Final = re.compile(r"\r\n|\n|\r")
# What ends the parts of which a body is made.
_LINE_BREAK: Final = re.compile(r"\n")
_EVENT_END: Final = re.compile(r"\r\n\r\n|\n\n|\r\r")
_PAIR_END: Final = re.compile(r"&")
# What follows the first byte of a character of UTF-8.
_WITHIN_CHARACTER: Final = bytes(range(0x80, 0xC0))
_TEXT_TYPES: Final = re.compile(
    r"text/.*|application/(?:.*\+)?xml|application/(?:javascript|graphql|yaml|x-yaml|toml|sql|x-sh)"
)
_JSON_TYPES: Final = re.compile(r"(?:application|text)/(?:.*\+)?json|application/json5")
_LINES_TYPES: Final = re.compile(r"application/(?:x-)?(?:ndjson|jsonlines|json-lines|jsonl|json-seq)")


class BodyRedaction:
    """Redacts bodies by one policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._finder = Finder(policy.scanner)
        self._text = TextRedaction(self._finder, policy.masks)
        self._tree = TreeRedaction(policy, self._text)
        self._events = EventsRedaction(self._text, self._tree)

    def redact(self, content_type: str, stretch: Stretch, findings: Findings) -> RedactedBody:
        """A payload as captured, its content encoding opened. Never raises."""
        media_type = content_type.partition(";")[0].strip().lower()
        body = self._closed(content_type, media_type, stretch.head, stretch.head_ends, findings)
        if not stretch.tail or body.withheld is not None or not _is_stream(media_type):
            return body
        tail = self._closed(content_type, media_type, stretch.tail, stretch.tail_ends, findings)
        if tail.withheld is not None or not tail.data:
            return body
        joined = body.data + tail.data
        return RedactedBody(joined, body.documents + tail.documents, tail_offset=len(body.data))

    def _closed(
        self, content_type: str, media_type: str, data: bytes, ends: Ends, findings: Findings
    ) -> RedactedBody:
        """Fails closed."""
        try:
            return self._redact(content_type, media_type, data, ends, findings)
        except _UnreadableError as unreadable:
            return RedactedBody(withheld=unreadable.why)
        except TooDeepError:
            return RedactedBody(withheld=Withheld.TOO_DEEP)
        except Exception:  # law 3: whatever it was, nothing raw goes on
            return RedactedBody(withheld=Withheld.FAILED)

    def _redact(
        self, content_type: str, media_type: str, data: bytes, ends: Ends, findings: Findings
    ) -> RedactedBody:
        if not data:
            return RedactedBody()
        if ends.opens:
            data = _from_character(data)
        text = _as_utf8(data, content_type, ends) if _may_be_text(media_type) else None
        if text is None:
            return self.opaque(media_type, data)
        if ends.closes:  # perhaps within a character
            text = text.decode("utf-8", "ignore").encode()
        redact = self._by_type(media_type, text)
        return redact(text, ends, findings)

    def _by_type(self, media_type: str, text: bytes) -> "Callable[[bytes, Ends, Findings], RedactedBody]":
        if media_type == "text/event-stream":
            return self._sse
        if _LINES_TYPES.fullmatch(media_type):
            return self._lines
        if media_type == "application/x-www-form-urlencoded":
            return self._form
        if _JSON_TYPES.fullmatch(media_type) or text.lstrip()[:1] in (b"{", b"["):
            return self._json
        return self._plain

    def opaque(self, media_type: str, data: bytes) -> RedactedBody:
        """A body that no rule can read, as INFERTAP_OPAQUE_BODIES says."""
        action = self._policy.opaque_action(media_type)
        if action == "keep":
            return RedactedBody(data)
        if action == "drop":
            return RedactedBody(withheld=Withheld.DROPPED)
        key = self._policy.key
        return RedactedBody(withheld=Withheld.DIGESTED, digest=key.hash(data) if key else "")

    # -- JSON

    def _json(self, data: bytes, ends: Ends, findings: Findings) -> RedactedBody:
        if ends:
            return self._broken(data, Withheld.CUT, ends, findings)
        try:
            tree = json.loads(data)
        except ValueError:
            lines = self._if_lines(data, findings)
            return lines or self._broken(data, Withheld.MALFORMED, ends, findings)
        except RecursionError:
            raise TooDeepError from None
        # No shape fits anywhere, nothing is escaped and no field is named: it may go as it is.
        if self._is_clean(data):
            return RedactedBody(data, (tree,))
        if repeats_a_key(data):
            raise _UnreadableError(
                Withheld.MALFORMED
            )  # of two members of one name readers take one or the other
        before = findings.total
        redacted = self._tree.redact(tree, "body", findings)
        if findings.total == before:
            return RedactedBody(data, (redacted,))
        return RedactedBody(_dump(redacted), (redacted,))

    def _is_clean(self, data: bytes) -> bool:
        return self._reads_as_text(data) and not self._finder.may_hold(data)

    def _reads_as_text(self, data: bytes) -> bool:
        """Whether JSON text hides nothing that shows only once it is parsed."""
        return not (self._policy.fields or b"\\" in data or _NAMES_SECRET.search(data))

    def _broken(self, data: bytes, why: Withheld, ends: Ends, findings: Findings) -> RedactedBody:
        """JSON that can't be parsed is read as text, where no rule asks for its fields."""
        if self._policy.fields or _NAMES_SECRET.search(data):
            raise _UnreadableError(why)
        return self._plain(data, ends, findings)

    def _if_lines(self, data: bytes, findings: Findings) -> RedactedBody | None:
        """Several documents, one on each line, called JSON."""
        lines = [line for line in data.split(b"\n") if line.strip()]
        if len(lines) < 2:
            return None
        try:
            for line in lines:
                json.loads(line)
        except (ValueError, RecursionError):
            return None
        return self._lines(data, WHOLE, findings)

    def _lines(self, data: bytes, ends: Ends, findings: Findings) -> RedactedBody:
        lines = _whole_parts(_LINE_BREAK, data.decode(), ends).split("\n")
        return self._documents(lines, "\n".join, findings, ends)

    def _sse(self, data: bytes, ends: Ends, findings: Findings) -> RedactedBody:
        """Server-sent events (HTML standard, section 9.2.6): an event's data lines are one payload."""
        lines = _LINE_END.split(_whole_parts(_EVENT_END, data.decode(), ends))
        # The data lines of each.
        payloads: list[list[str]] = []
        # For each line either its text, or the number of the payload that stands there.
        shape: list[str | int] = []
        in_data = False
        for line in lines:
            name, colon, value = line.partition(":")
            is_data = name == "data" and bool(colon)
            if not is_data:
                shape.append(line)
            elif in_data:
                payloads[-1].append(value.removeprefix(" "))
            else:
                payloads.append([value.removeprefix(" ")])
                shape.append(len(payloads) - 1)
            in_data = is_data

        def write(texts: list[str]) -> str:
            out = []
            for part in shape:
                if isinstance(part, int):
                    out += [f"data: {line}" for line in texts[part].split("\n")]
                else:
                    out.append(self._text.text(part, "body", findings))
            return "\n".join(out)

        return self._documents(["\n".join(data) for data in payloads], write, findings, ends)

    def _documents(
        self, payloads: list[str], write: "Callable[[list[str]], str]", findings: Findings, ends: Ends
    ) -> RedactedBody:
        ends = self._edges(ends)
        redacted = self._events.redact(payloads, "body", findings, self._is_clean, self._reads_as_text, ends)
        documents = tuple(document for _, document in redacted if document is not NOT_JSON)
        return RedactedBody(write([text for text, _ in redacted]).encode(), documents)

    def documents(
        self, documents: tuple[Any, ...], findings: Findings, ends: Ends = WHOLE
    ) -> tuple[Any, ...] | None:
        """Documents that were decoded elsewhere, redacted as one text; None where that fails."""
        try:
            return self._events.trees(documents, "body", findings, self._edges(ends))
        except Exception:  # law 3: whatever it was, nothing raw goes on
            return None

    def messages(self, payloads: list[str], findings: Findings, ends: Ends) -> list[Any] | None:
        """Messages that were taken apart elsewhere, redacted as one text: the document of each, or its text
        where it is none; None where that fails.
        """
        try:
            redacted = self._events.redact(
                payloads, "body", findings, self._is_clean, self._reads_as_text, self._edges(ends)
            )
        except Exception:  # law 3: whatever it was, nothing raw goes on
            return None
        return [text if document is NOT_JSON else document for text, document in redacted]

    def _edges(self, ends: Ends) -> Ends:
        """Where half of a value may stand: nowhere, if no value is looked for."""
        return ends if self._policy.kinds else WHOLE

    # -- forms and text

    def _form(self, data: bytes, ends: Ends, findings: Findings) -> RedactedBody:
        pairs = parse_qsl(_whole_parts(_PAIR_END, data.decode(), ends), keep_blank_values=True)
        if not pairs:
            return self._plain(data, ends, findings)
        return RedactedBody(urlencode(self.parameters(pairs, "body", findings)).encode())

    def parameters(
        self, pairs: list[tuple[str, str]], where: str, findings: Findings
    ) -> list[tuple[str, str]]:
        """Named values, decoded: of a form, or of a query."""
        redacted = []
        for name, value in pairs:
            action = self._policy.fields.action((name,)) if self._policy.fields else None
            if action == "drop":
                findings.add("field", where)
                continue
            kept = self._parameter(name, value, action, where, findings)
            redacted.append((self._text.text(name, where, findings), kept))
        return redacted

    def _parameter(self, name: str, value: str, action: str | None, where: str, findings: Findings) -> str:
        if action is not None:
            findings.add("field", where)
            if action == "hash" and self._policy.key is not None:
                return self._policy.key.hash(value.encode())
            return str(masked_by_type(value))
        if value and "api_key" in self._policy.kinds and (is_secret_name(name) or name.lower() == "token"):
            findings.add("secret", where)
            return mask("secret")
        return self._text.member(name, value, where, findings)

    def _plain(self, data: bytes, ends: Ends, findings: Findings) -> RedactedBody:
        if self._edges(ends):  # what is withheld is looked at too: a value may be there only in part
            text = data.decode("utf-8", "replace")
            start = EDGE if ends.opens else 0
            end = max(len(text) - EDGE, start) if ends.closes else len(text)
            parts = (text[:start], text[start:end], text[end:])
            data = self._text.joined(parts, "body", findings)[1].encode()
        return RedactedBody(self._text.raw(data, "body", findings))


# A member whose name may mean a secret; the tree then decides. On RE2: it is asked of every body.
_NAMES_SECRET: Final = re2.compile(
    rb"(?i:key|secret|passw|passphrase|pwd|token|authorization|credential|cookie)[^\"\\]{0,20}\"\s*:\s*\""
    rb"|(?i:secret|passw|passphrase|pwd|credential)[^\"\\]{0,20}\"\s*:\s*-?[0-9]|" + MAY_HOLD_TOKENS
)


def _dump(tree: Any) -> bytes:
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _may_be_text(media_type: str) -> bool:
    return (
        not media_type
        or _TEXT_TYPES.fullmatch(media_type) is not None
        or _JSON_TYPES.fullmatch(media_type) is not None
        or _LINES_TYPES.fullmatch(media_type) is not None
        or media_type
        in ("application/x-www-form-urlencoded", "application/octet-stream", "binary/octet-stream")
        or media_type.startswith("multipart/")
    )


def _as_utf8(data: bytes, content_type: str, ends: Ends) -> bytes | None:
    """`data` as UTF-8; None where it is no text of its charset, or can't be read from its middle."""
    declared = _CHARSET.search(content_type)
    charset = declared[1].lower() if declared else _by_mark(data)
    if charset in ("utf-8", "utf8", "us-ascii", "ascii"):
        text = data.removeprefix(codecs.BOM_UTF8)
        if text.isascii() or _is_utf8(text, ends.closes):
            return None if _is_binary(text) else text
        return None
    if ends.opens:
        return None
    try:
        decoded = codecs.lookup(charset).incrementaldecoder("strict").decode(data, final=not ends.closes)
    except (LookupError, ValueError):
        return None
    text = decoded.removeprefix("\ufeff").encode("utf-8", "replace")
    return None if _is_binary(text) else text


def _is_binary(text: bytes) -> bool:
    return len(text.translate(None, _CONTROLS)) != len(text)


def _by_mark(data: bytes) -> str:
    """The charset that a byte order mark tells, or for JSON where its zeros are (RFC 4627, section 3)."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if data[:4].count(0) == 2 and len(data) >= 4:
        return "utf-16-be" if data[0] == 0 else "utf-16-le"
    return "utf-8"


def _is_utf8(data: bytes, cut: bool) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(data, final=not cut)
    except ValueError:
        return False
    return True


def _from_character(data: bytes) -> bytes:
    """`data` from the first character of UTF-8 that is whole."""
    return data[:3].lstrip(_WITHIN_CHARACTER) + data[3:]


def _is_stream(media_type: str) -> bool:
    """Whether what comes late can be read without what came before."""
    return media_type.startswith("text/") or _LINES_TYPES.fullmatch(media_type) is not None


def _whole_parts(boundary: re.Pattern[str], text: str, ends: Ends) -> str:
    """`text` without the part that begins, and the part that ends, in a hole."""
    found = [match.end() for match in boundary.finditer(text)] if ends else []
    start = (found[0] if found else len(text)) if ends.opens and not ends.is_aligned else 0
    end = (found[-1] if found else 0) if ends.closes else len(text)
    return text[start : max(start, end)]
