"""What a record is in a file of an export."""

import pytest

from infertap import v1
from infertap.export import json_line, to_object


@pytest.mark.parametrize(("seconds", "nanos"), [(1 << 60, 0), (-(1 << 60), 0), (1, -1)])
def test_a_time_that_is_none_is_left_out(seconds: int, nanos: int) -> None:
    """A sidecar may claim anything; everything else of its record is told, and the record stays as it is."""
    record = v1.Record(call_id="c")
    record.timing.start.seconds = 1
    record.timing.end.seconds, record.timing.end.nanos = seconds, nanos
    before = record.SerializeToString()
    assert to_object(record) == {"call_id": "c", "timing": {"start": "1970-01-01T00:00:01Z"}}
    assert json_line(to_object(record)).endswith(b"}\n")
    assert record.SerializeToString() == before
