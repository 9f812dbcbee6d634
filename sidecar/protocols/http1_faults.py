"""HTTP/1 faults: what is wrong with bytes that a framer stopped at, in words for whoever sent them.

Pure. Asked once for a connection, after it was stopped. It promises words of its own: nothing of what it
reads is in them.
"""

import re
from typing import Final

from sidecar.protocols.http1_heads import MAX_DIGITS, TOKEN, is_status_line, request_line

NO_CHUNK_LINE: Final = "malformed chunk size or chunk extension"
NO_CHUNK_END: Final = "chunk data that is not followed by CRLF"
NO_TRAILERS: Final = "malformed trailer section"
NOTHING_MORE: Final = "bytes after the last message, or before it is known which protocol they belong to"
TOO_LARGE: Final = "head, trailer section or chunk line beyond its limit"
UNCLEAR: Final = "unclear framing"

_bare_line_end: Final = re.compile(rb"\r(?!\n|\Z)|(?<!\r)\n").search
_is_field: Final = re.compile(TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+").fullmatch
_length: Final = re.compile(rb"^content-length:([^\n]*)", re.IGNORECASE | re.MULTILINE).findall
_coding: Final = re.compile(rb"^transfer-encoding:", re.IGNORECASE | re.MULTILINE).findall
_has_no_content: Final = re.compile(rb"HTTP/1\.[01] (?:1[0-9][0-9]|204)").match


def head_fault(data: bytes) -> str:
    """Why `data`, which begins with a head, is stopped at."""
    head = data.partition(b"\r\n\r\n")[0]
    if _bare_line_end(head):
        return "a line that ends with CR or LF alone"
    start, *lines = head.split(b"\r\n")
    line = start + b"\r\n"
    if request_line(line) is None and not is_status_line(line):
        return "malformed start line"
    return _fields_fault(lines) or _framing_fault(start, b"\n".join(lines)) or UNCLEAR


def _fields_fault(lines: list[bytes]) -> str:
    for line in lines:
        if line.startswith((b" ", b"\t")):
            return "folded header field"
        if line and not _is_field(line):
            name = line.partition(b":")[0]
            return "white space before a colon" if name.endswith((b" ", b"\t")) else "malformed header field"
    return ""


def _framing_fault(start: bytes, fields: bytes) -> str:
    lengths = [length.strip(b" \t") for length in _length(fields)]
    if _coding(fields):
        return _coding_fault(start, bool(lengths))
    if len(lengths) > 1:
        return "more than one Content-Length"
    if any(not length.isdigit() or len(length) > MAX_DIGITS for length in lengths):
        return "Content-Length that is no plain number"
    return _content_fault(start) if lengths else ""


def _coding_fault(start: bytes, has_length: bool) -> str:
    if has_length:
        return "Content-Length together with Transfer-Encoding"
    if start.endswith(b" HTTP/1.0") or start.startswith(b"HTTP/1.0 "):
        return "Transfer-Encoding in HTTP/1.0"
    return _content_fault(start) or "Transfer-Encoding other than chunked, once"


def _content_fault(start: bytes) -> str:
    if start.startswith(b"CONNECT "):
        return "content in a CONNECT request"
    return "content with a status that has none" if _has_no_content(start) else ""
