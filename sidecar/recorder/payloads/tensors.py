"""Tensors: the values of tensors that travel as raw bytes (Open Inference Protocol, "Tensor Data").

Pure. Numbers are little-endian and packed; an element of BYTES is its length as 4 bytes and its bytes:

    u32le length | bytes | u32le length | bytes | …

Elements of BYTES that are text are shown as text. What is none (images, audio) is shown by its size only, and
marks the tensor as one that can't be read.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

# Values of one tensor that are shown.
MOST_VALUES: Final = 1 << 16

_FORMATS: Final = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
_BFLOAT16: Final = "BF16"
# Control characters that no text holds.
_CONTROLS: Final = bytes((*range(9), *range(14, 27), *range(28, 32), 127))


@dataclass(frozen=True, slots=True)
class Values:
    """The values of one tensor, the first MOST_VALUES of them."""

    listed: list[Any]
    # All of them can be read, so that a rule could find what it looks for.
    is_readable: bool
    is_cut: bool


def of_raw(datatype: str, raw: bytes) -> Values:
    """The values in raw tensor data; raises ValueError where it is none of that type."""
    if datatype == "BYTES":
        return of_elements(_elements(raw))
    if datatype == _BFLOAT16:  # the upper half of a 32-bit float
        raw = b"".join(b"\0\0" + raw[place : place + 2] for place in range(0, len(raw), 2))
        datatype = "FP32"
    letter = _FORMATS.get(datatype)
    if letter is None:
        return Values([binary_mark(raw)], not raw, False)
    size = struct.calcsize(letter)
    if len(raw) % size:
        raise ValueError("not a whole number of values")
    count = len(raw) // size
    shown = min(count, MOST_VALUES)
    return of_numbers(struct.unpack_from(f"<{shown}{letter}", raw), count)


def of_numbers(numbers: Iterable[Any], count: int) -> Values:
    """`count` numbers, of which at least the first MOST_VALUES are handed in."""
    listed = list(islice(numbers, MOST_VALUES))
    return Values(listed, True, count > len(listed))


def of_elements(elements: Iterable[bytes]) -> Values:
    """Elements of BYTES."""
    all_elements = list(elements)
    texts = [readable_text(element) for element in all_elements[:MOST_VALUES]]
    listed = [
        binary_mark(element) if text is None else text
        for text, element in zip(texts, all_elements, strict=False)
    ]
    is_cut = len(all_elements) > MOST_VALUES
    return Values(listed, not is_cut and None not in texts, is_cut)


def _elements(raw: bytes) -> list[bytes]:
    elements = []
    place = 0
    while place < len(raw):
        if place + 4 > len(raw):
            raise ValueError("ends within a length")
        (size,) = struct.unpack_from("<I", raw, place)
        place += 4
        if place + size > len(raw):
            raise ValueError("element beyond its tensor")
        elements.append(raw[place : place + size])
        place += size
    return elements


def readable_text(element: bytes) -> str | None:
    """`element` as text: UTF-8 without control characters; None where it is none."""
    if len(element.translate(None, _CONTROLS)) != len(element):
        return None
    try:
        return element.decode()
    except ValueError:
        return None


def binary_mark(data: bytes) -> str:
    """What stands for `data` that is no text."""
    return f"<binary {len(data)} bytes>"
