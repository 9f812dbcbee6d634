"""OTLP values: texts, numbers and lists as attributes. Pure.

As proto3's JSON has them: {"key": "…", "value": {"intValue": "7"}}; 64-bit numbers are texts.
"""

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

# A message of OTLP, as its JSON has it.
Told = dict[str, Any]


def attributes(told: Mapping[str, Any]) -> list[Told]:
    """The attributes; what is None, empty or an empty list says nothing, and is left out."""
    return [
        {"key": key, "value": value_of(value)} for key, value in told.items() if value not in (None, "", [])
    ]


def value_of(value: Any) -> Told:
    """An AnyValue of a text, number, truth value, or a list or mapping of them."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        # Beyond 64 bits there is no number in OTLP.
        return {"intValue": str(value)} if -(1 << 63) <= value < 1 << 63 else {"stringValue": str(value)}
    if isinstance(value, float) and isfinite(value):
        return {"doubleValue": value}
    if isinstance(value, Mapping):
        return {"kvlistValue": {"values": [{"key": str(k), "value": value_of(v)} for k, v in value.items()]}}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return {"arrayValue": {"values": [value_of(each) for each in value]}}
    text = str(value)
    # What came of JSON may have half a pair of surrogates, which no encoding of text has.
    return {"stringValue": text if text.isascii() else text.encode("utf-8", "replace").decode()}
