"""What a JSON object says before it breaks off."""

from typing import Any

import pytest

from sidecar.recorder.payloads import CallPayloads, Side, understand
from sidecar.recorder.payloads.cut_json import read_head


@pytest.mark.parametrize(
    ("data", "members"),
    [
        (b'{"model":"m","messages":[{"content":"lo', {"model": "m"}),
        (b' {"model" : "m" , "n": [1, {"a": 2}], "stop": "x', {"model": "m", "n": [1, {"a": 2}]}),
        (b'{"a":1}', {"a": 1}),
        # The rest of a number may be behind the cut.
        (b'{"a":1,"seed":12', {"a": 1}),
        (b'{"a":1,"b":tru', {"a": 1}),
        (b'{"a":1,<email>', {"a": 1}),
        (b'{"a":1 "b":2}', {}),
        (b'{"a"', {}),
        (b'{1:2,"a":3}', {}),
        (b"[1,2", {}),
        (b"", {}),
        (b"\xff{", {}),
        (b'{"n":' + b"9" * 6000 + b',"a":1}', {}),
        (b'{"a":1,"n":' + b"[" * 100_000, {"a": 1}),
    ],
)
def test_head(data: bytes, members: dict[str, Any]) -> None:
    """Whole members up to the first that is not."""
    assert read_head(data) == members


def test_cut_request() -> None:
    """Of a prompt longer than what is kept: the model and parameters before it, and that it is odd."""
    data = b'{"model":"m","temperature":0.5,"messages":[{"role":"user","content":"lo'
    call = CallPayloads("/v1/chat/completions", Side("application/json", (), data), Side(), 200)
    view = understand(call)
    assert (view.model_name, view.parameters, view.is_odd) == ("m", {"temperature": 0.5}, True)
