"""Failures: what an answer says of its failure: type, message and stack trace.

Pure, and of redacted texts. Reads the error bodies of model servers and their frameworks, error events of
streams, tracebacks in text, HTML pages, and gRPC's status with its details (google.rpc).
"""

import html
import re
from typing import Any, Final

import re2

from sidecar.recorder.payloads.view import CallPayloads, Failure, Side, list_of, object_of, text_of

_MOST_TYPE: Final = 256
_MOST_MESSAGE: Final = 8 << 10
_MOST_TRACE: Final = 64 << 10
# What of a text is looked at.
_MOST_TEXT: Final = 256 << 10

_TYPES: Final = (
    "type",
    "error_type",
    "error_code",
    "ErrorCode",
    "__type",
    "status",
    "code",
    "title",
    "reason",
)
_MESSAGES: Final = (
    "message",
    "error_message",
    "Message",
    "OriginalMessage",
    "msg",
    "detail",
    "description",
    "error_description",
    "reason",
    "title",
    "error",
)
_TRACES: Final = ("stack_trace", "stackTrace", "stacktrace", "traceback", "trace", "stack", "exc_info")
_TRACEBACK: Final = "Traceback (most recent call last):"
_LAST_OF_TRACE: Final = re.compile(r"^([A-Za-z_][\w.]{0,200})(?:: (.*))?$")
_GRPC_CODES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
# On RE2: pages come from outside.
_UNSEEN: Final = re2.compile(
    r"(?is)<script\b.*?</script\s*>|<style\b.*?</style\s*>|<title\b.*?</title\s*>|<!--.*?-->"
)
_TITLE: Final = re2.compile(r"(?is)<title[^<>]*>([^<]*)</title")
_BREAK: Final = re2.compile(r"(?i)<(?:br|/p|/div|/h[1-6]|/li|/tr|/pre|hr)\b[^<>]*>")
# Not every tag: what redaction puts in place of a value looks like one.
_TAG: Final = re2.compile(
    r"(?i)</?(?:!doctype|html|head|body|title|h[1-6]|p|div|center|pre|ul|ol|li|table"
    r"|thead|tbody|tr|td|th|br|hr|img|form|input|label|button|section|article|main|nav|header|footer|dl|dt|dd"
    r"|address|blockquote|textarea|link|meta|summary|details|frame|iframe|svg|path)(?:[\s/][^<>]*)?>"
)
# … and those within a line, where a value may go on.
_INLINE: Final = re2.compile(r"(?i)</?(?:a|b|i|u|em|strong|span|font|small|big|code)(?:\s[^<>]*)?>")
_BLANKS: Final = re.compile(r"[ \t\r\f\v]+")
_BLANK_LINES: Final = re.compile(r"\n\s*\n+")


def failure_of(call: CallPayloads) -> Failure:
    """What the call says of its failure; an empty Failure where it does not."""
    if call.grpc_status > 0:
        return _of_grpc(call)
    for document in reversed(call.response.objects):
        failure = _of_document(document, call.status)
        if failure:
            return failure
    return _of_other(call.response) if call.status >= 400 else Failure()


def tells_error(event: Any) -> bool:
    """Whether an event of a stream says that it failed."""
    if not isinstance(event, dict):
        return False
    inner = event.get("response")  # OpenAI's responses
    return bool(event.get("error")) or (isinstance(inner, dict) and bool(inner.get("error")))


# -- documents


def _of_document(document: dict[str, Any], status: int) -> Failure:
    inner = document.get("error", object_of(document.get("response")).get("error"))
    if isinstance(inner, dict):
        return _of_members(inner | {name: document[name] for name in _TRACES if name in document})
    if isinstance(inner, str) and inner:
        return _of_members(document)
    if status >= 400 or document.get("type") == "error" or "error_message" in document:
        return _of_members(document)
    return Failure()


def _of_members(members: dict[str, Any]) -> Failure:
    kind = _first(members, _TYPES) or _kind_of_field(members.get("detail"))
    message = _first(members, _MESSAGES)
    if message == kind and isinstance(members.get("error"), str):
        message = members["error"]
    trace = _first(members, _TRACES)
    if _TRACEBACK in message:
        found = _of_text(message)
        return _cut(kind or found.type, found.message, trace or found.stack_trace)
    return _cut(kind, message, trace)


def _first(members: dict[str, Any], names: tuple[str, ...]) -> str:
    for name in names:
        said = _said(members.get(name))
        if said:
            return said
    return ""


def _said(value: Any) -> str:
    """Text as it is; a list of texts, or of what FastAPI found wrong with fields, line by line."""
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, list):
        return "\n".join(filter(None, map(_said_of_item, value[:1000])))
    return text_of(value)


def _kind_of_field(detail: Any) -> str:
    """What FastAPI found wrong with the first of the fields."""
    first = list_of(detail)[:1]
    return text_of(object_of(first[0]).get("type")) if first else ""


def _said_of_item(item: Any) -> str:
    members = object_of(item)
    message = text_of(members.get("msg")) or text_of(members.get("message")) or text_of(item)
    where = ".".join(map(text_of, list_of(members.get("loc"))[:32]))
    return f"{where}: {message}" if where else message


# -- text


def _of_other(side: Side) -> Failure:
    """The failure that a body tells which is no JSON object."""
    if side.documents and isinstance(side.documents[0], str | list):
        return _cut("", _said(side.documents[0]), "")
    if not (side.media_type.startswith("text/") or not side.media_type):
        return Failure()
    text = side.data[:_MOST_TEXT].decode("utf-8", "replace")
    is_page = side.media_type == "text/html" or text.lstrip()[:14].lower().startswith(
        ("<!doctype html", "<html")
    )
    return _of_page(text) if is_page else _of_text(text)


def _of_page(page: str) -> Failure:
    title = _TITLE.search(page)
    text = _BREAK.sub("\n", _UNSEEN.sub(" ", page))
    text = html.unescape(_TAG.sub(" ", _INLINE.sub("", text)))
    text = _BLANK_LINES.sub("\n", _BLANKS.sub(" ", text)).strip()
    found = _of_text(text)
    return _cut(found.type or _one_line(title[1] if title else ""), found.message, found.stack_trace)


def _one_line(text: str) -> str:
    return " ".join(html.unescape(text).split())


def _of_text(text: str) -> Failure:
    """A text, which may hold a traceback of Python: its last line is type and message."""
    before, traceback, after = text.partition(_TRACEBACK)
    if not traceback:
        return _cut("", text.strip(), "")
    trace = (traceback + after).strip()
    for line in reversed(trace[:_MOST_TRACE].splitlines()):
        last = _LAST_OF_TRACE.match(line)
        if last:
            return _cut(last[1], last[2] or before.strip(), trace)
    return _cut("", before.strip(), trace)


# -- gRPC


def _of_grpc(call: CallPayloads) -> Failure:
    """The status by its name, or the reason that its details give; and what else they say."""
    code = call.grpc_status
    kind = _GRPC_CODES[code] if code < len(_GRPC_CODES) else str(code)
    trace = ""
    notes = [call.grpc_message]
    for detail in map(object_of, call.grpc_details):
        kind = text_of(detail.get("reason")) or kind
        trace = trace or "\n".join(map(text_of, list_of(detail.get("stack_entries"))))
        for said in list_of(detail.get("field_violations", detail.get("violations"))):
            where = text_of(object_of(said).get("field")) or text_of(object_of(said).get("subject"))
            notes.append(f"{where}: {text_of(object_of(said).get('description'))}")
        notes += [text_of(detail.get("detail")), text_of(detail.get("message"))]
    if _TRACEBACK in notes[0]:
        found = _of_text(notes[0])
        return _cut(kind, found.message, trace or found.stack_trace)
    return _cut(kind, "\n".join(filter(None, notes)), trace)


def _cut(kind: str, message: str, trace: str) -> Failure:
    return Failure(kind[:_MOST_TYPE], message[:_MOST_MESSAGE], trace[:_MOST_TRACE])
