"""HTTP/1 refusals: what is closed rather than relayed, and what its client is told.

Pure. Nothing of what was refused is in an answer: its words are ours.

    HTTP/1.1 400 Bad Request
    Content-Type: text/plain; charset=utf-8
    Content-Length: …
    Date: …
    Connection: close
    x-request-id: …                     where the call has one

    Refused by the sidecar: Content-Length together with Transfer-Encoding.
"""

from datetime import UTC, datetime
from typing import Final

from sidecar.exchange import Exchange
from sidecar.protocols import Stop
from sidecar.tap.interface import TapSettings

# Closed without a word.
NO_ANSWER: Final = 0
TIMEOUT: Final = 408

_REASONS: Final = {
    400: "Bad Request",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
}
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Refusal:
    """A request that is not passed on: its client is told so once the requests before it are answered."""

    __slots__ = ("call", "fault", "status")

    def __init__(self, call: Exchange, status: int, fault: str) -> None:
        """`call` stays open until then; `fault` says in words what is wrong."""
        self.call = call
        self.status = status
        self.fault = fault


def status_for_request(settings: TapSettings, why: Stop) -> int | None:
    """The status that a client is told whose request stopped the framer so; None where it is relayed on."""
    if why is Stop.AMBIGUOUS:
        return 400 if settings.rejects_ambiguous or settings.refuses_unrecordable else None
    return 431 if settings.refuses_unrecordable else None


def status_for_response(settings: TapSettings, why: Stop) -> int | None:
    """The same where it was the response that stopped the framer; NO_ANSWER where no request awaits one."""
    if why is Stop.AMBIGUOUS:
        return 502 if settings.rejects_ambiguous or settings.refuses_unrecordable else None
    if not settings.refuses_unrecordable:
        return None
    return NO_ANSWER if why is Stop.UNEXPECTED else 502


def refusal_answer(status: int, fault: str, request_id: bytes, wall_ns: int, *, to_head: bool) -> bytes:
    """The whole answer. `wall_ns` is since the epoch; one `to_head` has no content (RFC 9110, 9.3.2)."""
    content = f"Refused by the sidecar: {fault}.\n"
    lines = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(content)}",
        f"Date: {_http_date(wall_ns)}",
        "Connection: close",
    ]
    if request_id:
        lines.append(f"x-request-id: {request_id.decode('ascii')}")
    return ("\r\n".join(lines) + "\r\n\r\n" + ("" if to_head else content)).encode("ascii")


def _http_date(wall_ns: int) -> str:
    """RFC 9110, section 5.6.7, whatever the locale."""
    at = datetime.fromtimestamp(max(0, wall_ns) // 1_000_000_000, UTC)
    return f"{_DAYS[at.weekday()]}, {at.day:02} {_MONTHS[at.month - 1]} {at.year} {at:%H:%M:%S} GMT"
