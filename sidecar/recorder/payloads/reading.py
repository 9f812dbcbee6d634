"""Reading: asks the readers in order; the first that knows the call tells what it says."""

import re
from dataclasses import replace
from typing import Final

from sidecar.recorder.payloads import (
    anthropic,
    bedrock,
    cohere,
    gemini,
    generic,
    invocations,
    ollama,
    open_inference,
    openai,
    openai_responses,
    predict_v1,
    tensorflow_serving,
    text_generation,
    torchserve,
)
from sidecar.recorder.payloads.cut_json import read_head
from sidecar.recorder.payloads.failures import failure_of, tells_error
from sidecar.recorder.payloads.view import STREAMS, CallPayloads, Failure, Side, View

# Each knows its calls by their paths; the last takes all.
_READERS: Final = (
    ollama.read,
    openai.read,
    open_inference.read,
    predict_v1.read,
    openai_responses.read,
    anthropic.read,
    gemini.read,
    text_generation.read,
    tensorflow_serving.read,
    torchserve.read,
    invocations.read,
    cohere.read,
    bedrock.read,
    generic.read,
)
_ERROR_EVENT: Final = re.compile(rb"^event: ?error\s*$", re.MULTILINE)


def understand(call: CallPayloads) -> View:
    """What the payloads of `call` tell; an empty View where nobody knows them. Never raises."""
    is_broken = _is_broken(call.request) or _is_broken(call.response)
    if is_broken:
        call = replace(call, request=_with_head(call.request), response=_with_head(call.response))
    view = _read(call)
    view.is_odd = view.is_odd or is_broken
    view.failed = view.failed or _stream_has_failed(call.response)
    if view.failed or call.status >= 400 or call.grpc_status > 0:
        view.failure = _failure(call)
    return view


def _read(call: CallPayloads) -> View:
    is_odd = False
    for read in _READERS:
        try:
            view = read(call)
        except Exception:  # whatever a payload holds, its record is made: the body is in it as it is
            is_odd = True
            continue
        if view is not None:
            view.is_odd = is_odd
            return view
    return View(is_odd=is_odd)


def _is_broken(side: Side) -> bool:
    """Called JSON, and none."""
    is_json = side.media_type in STREAMS or side.media_type.endswith("json")
    return is_json and not side.documents and bool(side.data)


def _with_head(side: Side) -> Side:
    """What stands before the place where it breaks off is told."""
    head = read_head(side.data) if _is_broken(side) and side.media_type not in STREAMS else {}
    return replace(side, documents=(head,)) if head else side


def _failure(call: CallPayloads) -> Failure:
    try:
        return failure_of(call)
    except Exception:  # as above
        return Failure()


def _stream_has_failed(answer: Side) -> bool:
    """A stream's status is sent before its events: what fails later is told by an event, however named."""
    if answer.media_type not in STREAMS:
        return False
    data = answer.data
    if data and b"error" not in data and b"\\u" not in data:  # quick to ask, and most have none
        return False
    if any(map(tells_error, answer.documents)):
        return True
    return _ERROR_EVENT.search(data) is not None
