"""How a stream of server-sent events ended: with an error, or too soon.

Pure. A stream's status is sent before its events, so what fails later is told by an event, or by the lack of
the one that ends streams of its kind. Looks at the last bytes only, whose first line may be cut; what it
does not know has ended well. Never raises.
"""

import json
import re
from typing import Any, Final

_is_error_event: Final = re.compile(rb"^event: ?error[ \t]*\r?$", re.MULTILINE).search
_finish_reason: Final = re.compile(rb'"finish_reason" ?: ?"').search

# What streams of a kind say in each event, and one of the last: OpenAI's completions, its responses, and
# Anthropic's messages.
_COMPLETIONS: Final = (b'"chat.completion.chunk"', b'"text_completion"')
_RESPONSES: Final = re.compile(rb'"type" ?: ?"response\.').search
_RESPONSES_END: Final = re.compile(rb'"type" ?: ?"response\.(?:completed|incomplete|failed)"').search
_MESSAGES: Final = re.compile(rb'"type" ?: ?"(?:content_block_|message_)').search
_MESSAGES_END: Final = b"message_stop"


def stream_has_failed(tail: bytes) -> bool:
    """Whether the stream that ends with `tail` tells an error, or lacks its end."""
    return tells_error(tail) or lacks_end(tail)


def tells_error(tail: bytes) -> bool:
    """Whether one of the events in `tail` is an error."""
    if b"error" not in tail:
        return False
    return _is_error_event(tail) is not None or any(map(_is_error_line, tail.splitlines()))


def lacks_end(tail: bytes) -> bool:
    """Whether `tail` is of a kind of stream whose end is known, and has none."""
    if any(mark in tail for mark in _COMPLETIONS):
        return b"[DONE]" not in tail and _finish_reason(tail) is None
    if _RESPONSES(tail) is not None:
        return _RESPONSES_END(tail) is None
    return _MESSAGES(tail) is not None and _MESSAGES_END not in tail


def _is_error_line(line: bytes) -> bool:
    if not line.startswith(b"data:") or b"error" not in line:
        return False
    try:
        event: Any = json.loads(line[5:])
    except (ValueError, RecursionError):
        return False
    return _is_error(event) or (isinstance(event, dict) and _is_error(event.get("response")))


def _is_error(event: Any) -> bool:
    if not isinstance(event, dict):
        return False
    return bool(event.get("error")) or "error" in (event.get("type"), event.get("object"))
