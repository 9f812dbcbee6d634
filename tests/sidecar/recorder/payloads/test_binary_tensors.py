"""The binary tensor data extension is read into the JSON that says the same."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.recorder.payloads import decode_binary


def body(tree: Any, raw: bytes) -> tuple[bytes, bytes]:
    head = json.dumps(tree).encode()
    return str(len(head)).encode(), head + raw


def tensor(name: str, datatype: str, size: Any, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": datatype,
        "shape": [1],
        "parameters": {"binary_data_size": size} | more,
    }


def test_values_are_filled_in() -> None:
    """Each binary tensor gets its own part of what follows the JSON, in order; others keep their data."""
    plain = {"name": "z", "datatype": "INT32", "shape": [1], "data": [9]}
    tree = {"inputs": [tensor("x", "FP32", 8), plain, tensor("y", "BYTES", 6, unit="m")]}
    decoded = decode_binary(*body(tree, struct.pack("<2f", 1.5, 2.5) + b"\x02\0\0\0hi"))
    assert decoded is not None
    [document] = decoded.documents
    assert [each["data"] for each in document["inputs"]] == [[1.5, 2.5], [9], ["hi"]]
    assert document["inputs"][2]["parameters"] == {"unit": "m"}
    assert (decoded.is_cut, decoded.data) == (False, b"")


def test_cut_body() -> None:
    """Tensors whose data was cut off have no values, and the view says that it is not whole."""
    tree = {"outputs": [tensor("x", "UINT8", 2), tensor("y", "UINT8", 200)]}
    decoded = decode_binary(*body(tree, b"\x01\x02\x03"))
    assert decoded is not None
    assert [each["data"] for each in decoded.documents[0]["outputs"]] == [[1, 2], []]
    assert decoded.is_cut


def test_bytes_of_no_tensor() -> None:
    """Bytes that belong to no tensor are not in the document, and the view says so."""
    decoded = decode_binary(*body({"inputs": []}, b"left over"))
    assert decoded is not None
    assert (decoded.documents, decoded.is_cut) == (({"inputs": []},), True)


@pytest.mark.parametrize(
    ("length", "data"),
    [
        (b"", b"{}"),
        (b"x", b"{}"),
        (b"-1", b"{}"),
        (b"3", b"{}"),
        (b"2", b"[]"),
        (b"1", b"{}"),
        (b"9" * 30, b"{}"),
        (b"\xb2", b"{}"),
    ],
)
def test_no_such_body(length: bytes, data: bytes) -> None:
    """A length that does not fit, or JSON that is none, is not guessed about."""
    assert decode_binary(length, data) is None


@given(
    st.recursive(
        st.none() | st.integers(-5, 1 << 70) | st.text(max_size=4) | st.floats(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["inputs", "outputs", "parameters", "binary_data_size", "datatype", "data"]),
                inner,
            )
        ),
    ),
    st.binary(max_size=20),
)
def test_any_shape(tree: Any, raw: bytes) -> None:
    """Whatever the JSON says of tensors, there is an answer or none."""
    decoded = decode_binary(*body(tree, raw))
    assert decoded is None or len(decoded.documents) == 1
