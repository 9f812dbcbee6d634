"""Body: redacts one payload by what it is: JSON, many JSON documents, a form, text, or none of these.

Fails closed: whatever can't be read, or read in one way only, is withheld, and the reason is a value.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlencode

import re2

from sidecar.recorder.redaction.charset import as_utf8, from_character
from sidecar.recorder.redaction.event_stream import event_stream
from sidecar.recorder.redaction.events import NOT_JSON, EventsRedaction
from sidecar.recorder.redaction.finder import Finder
from sidecar.recorder.redaction.findings import Findings
from sidecar.recorder.redaction.holes import EDGE, WHOLE, Ends, Stretch
from sidecar.recorder.redaction.multipart import MultipartRedaction
from sidecar.recorder.redaction.named_values import NamedValues
from sidecar.recorder.redaction.policy import Policy
from sidecar.recorder.redaction.redacted_body import RedactedBody, UnreadableError, Withheld
from sidecar.recorder.redaction.sorts import begins_with_a_line, first_members, sort_of
from sidecar.recorder.redaction.tables import redact_table
from sidecar.recorder.redaction.text import TextRedaction
from sidecar.recorder.redaction.time_allowed import OverTimeError
from sidecar.recorder.redaction.tokens import MAY_HOLD_TOKENS
from sidecar.recorder.redaction.tree import TooDeepError, TreeRedaction, repeats_a_key

# What ends the parts of which a body is made.
_LINE_BREAK: Final = re.compile(r"\n")
_EVENT_END: Final = re.compile(r"\r\n\r\n|\n\n|\r\r")
_PAIR_END: Final = re.compile(r"&")
_TEXT_TYPES: Final = re.compile(
    r"text/.*|application/(?:.*\+)?xml|application/(?:javascript|graphql|yaml|x-yaml|toml|sql|x-sh)"
)
_JSON_TYPES: Final = re.compile(r"(?:application|text)/(?:.*\+)?json|application/json5")
_TABLE_TYPES: Final = frozenset({"text/csv", "application/csv", "text/tab-separated-values"})
# What documents that were decoded elsewhere count as: how large they were is not known here.
_DECODED_BYTES: Final = 1 << 20
_T = TypeVar("_T")
_LINES_TYPES: Final = re.compile(r"application/(?:x-)?(?:ndjson|jsonlines|json-lines|jsonl|json-seq)")


class BodyRedaction:
    """Redacts bodies by one policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._allowed = policy.scanner.allowed
        self._finder = Finder(policy.scanner)
        self._text = TextRedaction(self._finder, policy.masks)
        self._tree = TreeRedaction(policy, self._text)
        self._events = EventsRedaction(self._text, self._tree)
        self._values = NamedValues(policy, self._text)
        self._multipart = MultipartRedaction(self._text, self._values, self._part)

    def redact(self, content_type: str, stretch: Stretch, findings: Findings) -> RedactedBody:
        """A payload as captured, its content encoding opened. Never raises."""
        self._allowed.begin(len(stretch.head) + len(stretch.tail))
        try:
            return self._redact_stretch(content_type, stretch, findings)
        except OverTimeError:
            return RedactedBody(withheld=Withheld.OVER_TIME)

    def _redact_stretch(self, content_type: str, stretch: Stretch, findings: Findings) -> RedactedBody:
        media_type = sort_of(content_type.partition(";")[0].strip().lower(), stretch)
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
        """Fails closed. Raises OverTimeError, as then nothing more is to be done with any part of it."""
        try:
            return self._redact(content_type, media_type, data, ends, findings)
        except UnreadableError as unreadable:
            return RedactedBody(withheld=unreadable.why)
        except TooDeepError:
            return RedactedBody(withheld=Withheld.TOO_DEEP)
        except OverTimeError:
            raise
        except Exception:  # law 3: whatever it was, nothing raw goes on
            return RedactedBody(withheld=Withheld.FAILED)

    def _redact(
        self, content_type: str, media_type: str, data: bytes, ends: Ends, findings: Findings
    ) -> RedactedBody:
        if not data:
            return RedactedBody()
        if media_type.startswith("multipart/"):
            redacted = self._multipart.redact(content_type, data, ends, findings)
            if redacted is not None:
                return RedactedBody(redacted)
        if ends.opens:
            data = from_character(data)
        text = as_utf8(data, content_type, ends) if _may_be_text(media_type) else None
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
        if media_type in _TABLE_TYPES:
            return self._table
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
        before = findings.total
        if _is_of_pieces(tree):
            self._events.join(tree, "body", findings)
        # No shape fits anywhere, nothing is escaped and no field is named: it may go as it is.
        if findings.total == before and self._is_clean(data):
            return RedactedBody(data, (tree,))
        if repeats_a_key(data):
            raise UnreadableError(
                Withheld.MALFORMED
            )  # of two members of one name readers take one or the other
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
        """JSON that can't be parsed: the first members of an array, which may be a stream; or else text,
        where no rule asks for its fields.
        """
        if ends.opens and data:  # of what, can't be told
            raise UnreadableError(why)
        members = first_members(data.decode())
        if members:
            return self._documents(members, _array, findings, Ends(closes=True))
        if self._policy.fields or _NAMES_SECRET.search(data):
            raise UnreadableError(why)
        return self._plain(data, ends, findings)

    def _if_lines(self, data: bytes, findings: Findings) -> RedactedBody | None:
        """Several documents, one on each line, called JSON."""
        return self._lines(data, WHOLE, findings) if begins_with_a_line(data) else None

    def _lines(self, data: bytes, ends: Ends, findings: Findings) -> RedactedBody:
        lines = _whole_parts(_LINE_BREAK, data.decode(), ends).split("\n")
        return self._documents(lines, "\n".join, findings, ends)

    def _sse(self, data: bytes, ends: Ends, findings: Findings) -> RedactedBody:
        """Server-sent events."""
        stream = event_stream(_whole_parts(_EVENT_END, data.decode(), ends))

        def write(texts: list[str]) -> str:
            return stream.written(texts, lambda line: self._text.text(line, "body", findings))

        return self._documents(stream.payloads, write, findings, ends)

    def _documents(
        self, payloads: list[str], write: "Callable[[list[str]], str]", findings: Findings, ends: Ends
    ) -> RedactedBody:
        ends = self._edges(ends)
        redacted = self._events.redact(payloads, "body", findings, self._is_clean, self._reads_as_text, ends)
        documents = tuple(document for _, document in redacted if document is not NOT_JSON)
        return RedactedBody(write([text for text, _ in redacted]).encode(), documents)

    def documents(
        self, documents: tuple[Any, ...], findings: Findings, ends: Ends = WHOLE
    ) -> tuple[Any, ...] | Withheld:
        """Documents that were decoded elsewhere, redacted as one text; or why that fails."""
        edges = self._edges(ends)
        return self._or_why(lambda: self._events.trees(documents, "body", findings, edges), _DECODED_BYTES)

    def messages(self, payloads: list[str], findings: Findings, ends: Ends) -> list[Any] | Withheld:
        """Messages that were taken apart elsewhere, redacted as one text: the document of each, or its text
        where it is none; or why that fails.
        """

        def redact() -> list[Any]:
            redacted = self._events.redact(
                payloads, "body", findings, self._is_clean, self._reads_as_text, self._edges(ends)
            )
            return [text if document is NOT_JSON else document for text, document in redacted]

        return self._or_why(redact, sum(map(len, payloads)))

    def _or_why(self, redact: "Callable[[], _T]", size: int) -> "_T | Withheld":
        self._allowed.begin(size)
        try:
            return redact()
        except OverTimeError:
            return Withheld.OVER_TIME
        except TooDeepError:
            return Withheld.TOO_DEEP
        except Exception:  # law 3: whatever it was, nothing raw goes on
            return Withheld.FAILED

    def _edges(self, ends: Ends) -> Ends:
        """Where half of a value may stand: nowhere, if no value is looked for."""
        return ends if self._policy.kinds else WHOLE

    # -- forms and text

    def _form(self, data: bytes, ends: Ends, findings: Findings) -> RedactedBody:
        pairs = parse_qsl(_whole_parts(_PAIR_END, data.decode(), ends), keep_blank_values=True)
        if not pairs:
            return self._plain(data, ends, findings)
        return RedactedBody(urlencode(self._values.pairs(pairs, "body", findings)).encode())

    def _part(self, content_type: str, data: bytes, findings: Findings) -> RedactedBody:
        """One part of a multipart body."""
        media_type = content_type.partition(";")[0].strip().lower()
        return self._closed(content_type, media_type, data, WHOLE, findings)

    def _table(self, data: bytes, ends: Ends, findings: Findings) -> RedactedBody:
        """CSV: columns by their names, then all of it as text."""
        if ends.opens:  # the names are elsewhere
            raise UnreadableError(Withheld.CUT)
        text = _whole_parts(_LINE_BREAK, data.decode(), ends)
        return self._plain(redact_table(text, self._values, findings).encode(), ends, findings)

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


def _is_of_pieces(tree: Any) -> bool:
    """Whether it lists objects alone, as a stream sent as one document does. Tokens are the tree's."""
    is_list = isinstance(tree, list) and len(tree) > 1 and {*map(type, tree)} == {dict}
    return is_list and not isinstance(tree[0].get("token"), str)


def _array(members: list[str]) -> str:
    return f"[{','.join(members)}]"


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


def _is_stream(media_type: str) -> bool:
    """Whether what comes late can be read without what came before."""
    return media_type.startswith("text/") or _LINES_TYPES.fullmatch(media_type) is not None


def _whole_parts(boundary: re.Pattern[str], text: str, ends: Ends) -> str:
    """`text` without the part that begins, and the part that ends, in a hole."""
    found = [match.end() for match in boundary.finditer(text)] if ends else []
    start = (found[0] if found else len(text)) if ends.opens and not ends.is_aligned else 0
    end = (found[-1] if found else 0) if ends.closes else len(text)
    return text[start : max(start, end)]
