"""The details of a status, as gRPC's servers send them."""

import base64

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2

from sidecar.recorder.payloads import read_details


def encoded(*details) -> bytes:
    packed = []
    for each in details:
        packed.append(AnyMessage())
        packed[-1].Pack(each)
    status = status_pb2.Status(code=3, message="bad", details=packed)
    return base64.b64encode(status.SerializeToString())


def test_known_messages() -> None:
    """Each by its type, with or without padding."""
    info = error_details_pb2.ErrorInfo(reason="QUOTA", domain="example.org", metadata={"a": "b"})
    debug = error_details_pb2.DebugInfo(stack_entries=["f", "g"], detail="d")
    value = encoded(info, debug)
    expected = (
        {"@type": "google.rpc.ErrorInfo", "reason": "QUOTA", "domain": "example.org", "metadata": {"a": "b"}},
        {"@type": "google.rpc.DebugInfo", "stack_entries": ["f", "g"], "detail": "d"},
    )
    assert read_details(value) == expected
    assert read_details(value.rstrip(b"=")) == expected


def test_other_messages() -> None:
    """What is none of google.rpc's stays closed."""
    assert read_details(encoded(status_pb2.Status(message="secret"))) == ({"@type": "google.rpc.Status"},)


@pytest.mark.parametrize("value", [b"", b"!", b"////", b"a" * 100_000])
def test_no_details(value: bytes) -> None:
    """What can't be read tells nothing."""
    assert read_details(value) == ()


def test_true_binary() -> None:
    """Between two ends of gRPC's core they come as they are, after a byte of zero."""
    value = encoded(error_details_pb2.ErrorInfo(reason="QUOTA", domain="d"))
    assert read_details(b"\0" + base64.b64decode(value)) == read_details(value) != ()
