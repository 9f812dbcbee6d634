"""Sniff: which protocol a connection speaks, by its first bytes.

Pure. It promises to decide as soon as the bytes can be nothing else, and to call anything that it is not
sure of UNKNOWN: such a connection is relayed without being followed.
"""

import re
from enum import Enum
from typing import Final

from sidecar.protocols.http1_heads import request_line

# RFC 9113, section 3.4.
HTTP2_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Longer than any registered method (UPDATEREDIRECTREF).
_MAX_METHOD: Final = 24
_LONG_LINE: Final = 4 << 10
# Lenient readers skip line ends and white space before a request line, and take any white space in it and
# any line end behind it. Some still answer what HTTP/0.9 had: GET and a path.
_SKIPPED: Final = b"\r\n\t "
_METHOD: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_may_become_request: Final = re.compile(
    rb"[\r\n\t ]*+" + _METHOD + rb"{0,%d}+(?:[\t ][^\n]*+)?" % _MAX_METHOD
).fullmatch
_begins_with_method: Final = re.compile(_METHOD + rb"{1,%d}+[\t ]" % _MAX_METHOD).match
_version: Final = re.compile(rb"HTTP/[0-9]").search
# RFC 9113, section 6.5.
_SETTINGS_TYPE: Final = 4
_FRAME_HEAD: Final = 9
_MAX_FIRST_SETTINGS: Final = 16 << 10


class Sniffed(Enum):
    """What the bytes so far can be."""

    UNDECIDED = 0
    HTTP1 = 1
    HTTP2 = 2
    UNKNOWN = 3


def sniff_client(data: bytes) -> Sniffed:
    """The protocol whose client sent `data` first.

    What a lenient reader could take for a request is HTTP/1 too: the framer then says that it is none to be
    sure of.
    """
    if data.startswith(HTTP2_PREFACE):
        return Sniffed.HTTP2
    if HTTP2_PREFACE.startswith(data):
        return Sniffed.UNDECIDED
    # RFC 9112, section 2.2: empty lines before a request line are ignored.
    start = 0
    while data.startswith(b"\r\n", start):
        start += 2
    line = request_line(data[start:] if start else data)
    # A longer method is none in a first read that ends within it: so it is none in a whole one.
    if (line is not None and len(line[0]) <= _MAX_METHOD) or _is_loose_request(data):
        return Sniffed.HTTP1
    if not _may_become_request(data):
        return Sniffed.UNKNOWN
    # So long a line without an end is left to the framer, which does not begin anew with each read.
    return Sniffed.UNDECIDED if len(data) <= _LONG_LINE else Sniffed.HTTP1


def _is_loose_request(data: bytes) -> bool:
    line, end, _ = data.lstrip(_SKIPPED).partition(b"\n")
    if not end or _begins_with_method(line) is None:
        return False
    return _version(line) is not None or line.startswith((b"GET ", b"GET\t"))


def sniff_model(data: bytes) -> Sniffed:
    """The protocol whose server sent `data` before its client said anything.

    An HTTP/2 server may send its SETTINGS before it has seen the client's preface, and gRPC servers do (RFC
    9113, section 3.4). HTTP/1 servers do not speak first.
    """
    if len(data) < _FRAME_HEAD:
        start = (b"\0\0", b"\0")[len(data) == 1]
        return Sniffed.UNDECIDED if data[:1] == start[:1] else Sniffed.UNKNOWN
    length = int.from_bytes(data[:3], "big")
    is_settings = data[3] == _SETTINGS_TYPE and data[4] == 0 and data[5:9] == b"\0\0\0\0"
    if is_settings and length % 6 == 0 and length <= _MAX_FIRST_SETTINGS:
        return Sniffed.HTTP2
    return Sniffed.UNKNOWN
