"""JSON text: trees as compact JSON that every reader takes (RFC 8259). Pure."""

import json
import math
from typing import Any


def json_text(tree: Any) -> str:
    """`tree` as JSON; numbers that JSON does not have become the strings of protobuf's mapping."""
    try:
        return json.dumps(tree, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(tree), ensure_ascii=False, separators=(",", ":"))


def _finite(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _finite(member) for key, member in tree.items()}
    if isinstance(tree, list | tuple):
        return [_finite(member) for member in tree]
    if isinstance(tree, float) and not math.isfinite(tree):
        return "NaN" if math.isnan(tree) else "Infinity" if tree > 0 else "-Infinity"
    return tree
