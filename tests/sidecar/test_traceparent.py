"""Reading `traceparent`."""

import pytest

from sidecar.traceparent import read_traceparent

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"00-" + TRACE + b"-00f067aa0ba902b7-01", TRACE),
        (b"cc-" + TRACE + b"-00f067aa0ba902b7-01-more", TRACE),
        (b"00-" + TRACE + b"-00f067aa0ba902b7-01-more", b""),
        (b"cc-" + TRACE + b"-00f067aa0ba902b7-01more", b""),
        (b"ff-" + TRACE + b"-00f067aa0ba902b7-01", b""),
        (b"00-" + TRACE.upper() + b"-00f067aa0ba902b7-01", b""),
        (b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01", b""),
        (b"00-" + TRACE + b"-0000000000000000-01", b""),
        (b"00-" + TRACE + b"-00f067aa0ba902b7-1", b""),
        (b"", b""),
    ],
)
def test_trace_id(value: bytes, expected: bytes) -> None:
    """Ids are read only from a valid `traceparent`."""
    assert read_traceparent(value) == (expected, b"00f067aa0ba902b7" if expected else b"")
