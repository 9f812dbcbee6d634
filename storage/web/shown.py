"""Shown: how values of a record look on the page. Pure.

What comes from outside is text here, and escaped by the templates; control characters are made visible.
"""

import contextlib
import json
import unicodedata
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from infertap import rendering, v1
from infertap.names import name_of

_BODY_MOST: Final = 200_000
_KEPT: Final = "\n\t"


def time(timestamp: Timestamp) -> str:
    """To the millisecond, with its zone."""
    nanoseconds = timestamp.seconds * 1_000_000_000 + timestamp.nanos
    moment = datetime.fromtimestamp(timestamp.seconds, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{nanoseconds // 1_000_000 % 1000:03d} UTC"


def duration(microseconds: int) -> str:
    """In the unit that reads best."""
    if microseconds < 0:
        return "–"
    if microseconds < 1000:
        return f"{microseconds} µs"
    return f"{microseconds / 1000:.1f} ms" if microseconds < 1_000_000 else f"{microseconds / 1e6:.2f} s"


def state(record: v1.Record) -> str:
    """In a word."""
    return name_of(v1.State, record.state).capitalize()


def status(record: v1.Record) -> str:
    """HTTP status, or the gRPC one by its number."""
    if record.HasField("grpc_status"):
        return f"gRPC {record.grpc_status}"
    return str(record.http_status) if record.http_status else "–"


def kept(record: v1.Record) -> str:
    """Why the call was kept, and the share of such calls that is; nothing where that is not known yet."""
    if not record.sampling.reason:
        return "–"
    reason = name_of(v1.Sampling.Reason, record.sampling.reason)
    fraction = record.sampling.fraction
    return reason if fraction in (0, 1) else f"{reason} {fraction:.3g}"


def visible(text: str) -> str:
    """`text` with control and direction characters as their code points."""
    return "".join(
        char
        if char in _KEPT or unicodedata.category(char) not in ("Cc", "Cf", "Cs")
        else f"\\u{ord(char):04x}"
        for char in text
    )


def body(payload: v1.Payload) -> str:
    """The payload as text, JSON set out over lines, cut to what a page can show."""
    text = payload.decoded_json or payload.data.decode("utf-8", "replace")
    if len(text) <= _BODY_MOST:
        with contextlib.suppress(ValueError, RecursionError):
            text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return visible(text[:_BODY_MOST])


def protocol(record: v1.Record) -> str:
    """By its name."""
    return name_of(v1.Protocol, record.protocol).upper()


def ended_by(record: v1.Record) -> str:
    """In words; nothing where it has not ended."""
    if not record.ended_by:
        return "–"
    return name_of(v1.EndedBy, record.ended_by).replace("_", " ")


def spool_state(spool: v1.Spool) -> str:
    """In a word."""
    return name_of(v1.Spool.State, spool.state)


def hexadecimal(data: bytes) -> str:
    """Bytes as hex digits."""
    return data.hex()


def segments(record: v1.Record) -> str:
    """Of a call that lasted: how many parts of its record are here; empty for others."""
    return rendering.segments(record)


def feedback_lines(given: v1.Feedback) -> list[str]:
    """What feedback says, thing by thing."""
    return [line[:_BODY_MOST] for line in rendering.feedback_lines(given)]


FILTERS: Final[dict[str, Any]] = {
    each.__name__: each
    for each in (
        time,
        duration,
        state,
        status,
        kept,
        visible,
        body,
        protocol,
        ended_by,
        hexadecimal,
        spool_state,
        segments,
        feedback_lines,
    )
}
