"""Views are JSON that every reader takes."""

import json
import math

from sidecar.recorder.json_text import json_text


def test_plain() -> None:
    """Compact, and text as it is."""
    assert json_text({"a": [1, 2.5, None], "ü": "…"}) == '{"a":[1,2.5,null],"ü":"…"}'


def test_numbers_that_json_does_not_have() -> None:
    """They are named, wherever they stand."""
    tree = {"x": [math.nan, {"y": math.inf}], "z": (-math.inf, 1.5)}
    assert json.loads(json_text(tree)) == {"x": ["NaN", {"y": "Infinity"}], "z": ["-Infinity", 1.5]}
