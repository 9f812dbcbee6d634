"""Golden bytes: records as they were encoded once stay readable for ever.

`golden/NAME-N.binpb` is never changed. Where records learn something new, a file with the next number is
added.
"""

import json
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from infertap import v1

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.binpb"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_old_records_say_what_they_said(path: Path) -> None:
    """Today's code reads a record of then, and finds in it what was put in."""
    record = v1.Record.FromString(path.read_bytes())
    expected = json.loads(path.with_suffix(".json").read_text())
    assert MessageToDict(record, preserving_proto_field_name=True) == expected


def test_there_are_golden_records() -> None:
    """Calls over HTTP, gRPC and opaque connections are among them."""
    protocols = {v1.Record.FromString(path.read_bytes()).protocol for path in GOLDEN}
    assert protocols >= {v1.HTTP1, v1.GRPC, v1.OPAQUE}
