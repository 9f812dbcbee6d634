"""Raw tensor data is read as its protocol lays it out, and refused where it is not laid out so."""

import struct

import pytest

from sidecar.recorder.payloads import tensors


def elements(*values: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


@pytest.mark.parametrize(
    ("datatype", "raw", "values"),
    [
        ("BOOL", b"\x01\x00", [True, False]),
        ("UINT8", b"\x00\xff", [0, 255]),
        ("INT8", b"\xff", [-1]),
        ("INT16", b"\xfe\xff", [-2]),
        ("UINT16", b"\x01\x02", [513]),
        ("INT32", b"\x01\x00\x00\x00", [1]),
        ("UINT32", b"\xff\xff\xff\xff", [4294967295]),
        ("INT64", b"\xff" * 8, [-1]),
        ("UINT64", b"\xff" * 8, [18446744073709551615]),
        ("FP16", b"\x00\x3e", [1.5]),
        ("BF16", b"\xc0\x3f\x20\xc0", [1.5, -2.5]),
        ("FP32", struct.pack("<2f", 1.5, -2.0), [1.5, -2.0]),
        ("FP64", struct.pack("<d", 0.1), [0.1]),
        ("BYTES", elements(b"iris", b"", "ü".encode()), ["iris", "", "ü"]),
        ("FP32", b"", []),
    ],
)
def test_values(datatype: str, raw: bytes, values: list[object]) -> None:
    """Little-endian numbers, and strings with their lengths before them."""
    read = tensors.of_raw(datatype, raw)
    assert (read.listed, read.is_readable, read.is_cut) == (values, True, False)


@pytest.mark.parametrize(
    ("datatype", "raw"),
    [
        ("FP32", b"\0\0\0"),
        ("BF16", b"\0"),
        ("BYTES", b"\x01\0\0"),
        ("BYTES", b"\x02\0\0\0a"),
        ("BYTES", b"\xff\xff\xff\xff"),
    ],
)
def test_broken(datatype: str, raw: bytes) -> None:
    """What is not a whole number of values is refused."""
    with pytest.raises(ValueError, match=r"whole|within|beyond"):
        tensors.of_raw(datatype, raw)


@pytest.mark.parametrize(
    "element", [b"\x89PNG\r\n\x1a\n\0", b"\xff\xfea\0", b"a\0b", b"\x1b[31m"[:1] + b"\x01"]
)
def test_what_is_no_text(element: bytes) -> None:
    """An element that is no text is told by its size, and marks its tensor."""
    read = tensors.of_raw("BYTES", elements(b"text", element))
    assert (read.listed, read.is_readable) == (["text", f"<binary {len(element)} bytes>"], False)


def test_unknown_type() -> None:
    """A type that nobody knows can't be read."""
    read = tensors.of_raw("COMPLEX128", b"\0" * 16)
    assert (read.listed, read.is_readable) == (["<binary 16 bytes>"], False)


def test_many_values() -> None:
    """So many values are shown and no more; strings that are not shown are not read either."""
    many = tensors.MOST_VALUES + 1
    numbers = tensors.of_raw("UINT8", b"\x07" * many)
    assert (len(numbers.listed), numbers.is_cut, numbers.is_readable) == (many - 1, True, True)
    strings = tensors.of_elements([b"x"] * many)
    assert (len(strings.listed), strings.is_cut, strings.is_readable) == (many - 1, True, False)
