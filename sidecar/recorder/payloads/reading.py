"""Reading: asks the readers in order; the first that knows the call tells what it says."""

from sidecar.recorder.payloads import generic, open_inference, openai
from sidecar.recorder.payloads.view import CallPayloads, View

_READERS = (open_inference.read, openai.read, generic.read)


def understand(call: CallPayloads) -> View:
    """What the payloads of `call` tell; an empty View where nobody knows them. Never raises."""
    for read in _READERS:
        try:
            view = read(call)
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError):
            continue  # a payload of another shape than its protocol's: the body is in the record as it is
        if view is not None:
            return view
    return View()
