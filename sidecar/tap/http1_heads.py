"""HTTP/1 heads, where the tap has to look closer: while draining, and where another protocol begins.

Pure. Asked for few heads, never on the hot path.
"""

from typing import Final

from sidecar.protocols import TUNNEL, ResponseHead, is_crowded, parse_head

CLOSE_LINE: Final = b"Connection: close\r\n"


def lacks_close(head: ResponseHead) -> bool:
    """Whether `Connection: close` is to be added to `head` while the relay drains.

    Only to final responses, and only where nothing there says the opposite: a line can be added, not
    replaced, and of `keep-alive` and `close` some clients read just the first, though the second holds (RFC
    9112, section 9.3). Such a connection ends once it is idle.
    """
    if head.status < 200 or head.body == TUNNEL or head.is_last or is_crowded(head.raw):
        return False
    return b"keep-alive" not in _listed(head.raw, b"connection")


def agrees_on_websocket(request_head: bytes, response_head: bytes) -> bool:
    """Whether a request and its 101 agree on WebSocket (RFC 6455, section 4; RFC 9110, section 7.8)."""
    return all(b"websocket" in _listed(head, b"upgrade") for head in (request_head, response_head))


def _listed(raw: bytes, name: bytes) -> list[bytes]:
    """The members of a list field, in lower case."""
    values = [value for field, value in parse_head(raw).fields if field.lower() == name]
    return [member.strip(b" \t") for member in b",".join(values).lower().split(b",")]
