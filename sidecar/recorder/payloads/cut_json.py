"""Cut JSON: what stands whole at the head of a JSON object that was cut, or breaks off. Pure.

Long prompts and images make bodies longer than what is kept of them; the model and its parameters mostly
stand before.
"""

import json
import re
from typing import Any, Final

_DECODER: Final = json.JSONDecoder()
_OPENED: Final = re.compile(r"\s*\{\s*")
_COLON: Final = re.compile(r"\s*:\s*")
# A number that nothing follows may go on behind the cut.
_CLOSED: Final = re.compile(r"\s*([,}])\s*")


def read_head(data: bytes) -> dict[str, Any]:
    """The members of the object in `data` that are whole, up to the first that is not."""
    members: dict[str, Any] = {}
    text = data.decode("utf-8", "replace")
    place = _OPENED.match(text)
    try:
        while place is not None:
            name, end = _DECODER.raw_decode(text, place.end())
            colon = _COLON.match(text, end)
            if colon is None or not isinstance(name, str):
                break
            value, end = _DECODER.raw_decode(text, colon.end())
            place = _CLOSED.match(text, end)
            if place is not None:
                members[name] = value
                place = place if place[1] == "," else None
    except (ValueError, RecursionError):
        pass  # here it breaks off
    return members
