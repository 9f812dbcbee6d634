"""Reading: asks the readers in order; the first that knows the call tells what it says."""

import re
from typing import Any, Final

from sidecar.recorder.payloads import generic, open_inference, openai
from sidecar.recorder.payloads.view import CallPayloads, Side, View

_READERS: Final = (open_inference.read, openai.read, generic.read)
_STREAMS: Final = frozenset({"text/event-stream", "application/x-ndjson", "application/ndjson"})
_ERROR_EVENT: Final = re.compile(rb"^event: ?error\s*$", re.MULTILINE)


def understand(call: CallPayloads) -> View:
    """What the payloads of `call` tell; an empty View where nobody knows them. Never raises."""
    view = _read(call)
    view.failed = view.failed or _stream_has_failed(call.response)
    return view


def _read(call: CallPayloads) -> View:
    for read in _READERS:
        try:
            view = read(call)
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError):
            continue  # a payload of another shape than its protocol's: the body is in the record as it is
        if view is not None:
            return view
    return View()


def _stream_has_failed(answer: Side) -> bool:
    """A stream's status is sent before its events: what fails later is told by an event, however named."""
    if answer.media_type not in _STREAMS:
        return False
    return any(map(_tells_error, answer.documents)) or _ERROR_EVENT.search(answer.data) is not None


def _tells_error(event: Any) -> bool:
    if not isinstance(event, dict):
        return False
    inner = event.get("response")  # OpenAI's responses
    return bool(event.get("error")) or (isinstance(inner, dict) and bool(inner.get("error")))
