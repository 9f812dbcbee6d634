"""Binary tensors over REST: the Open Inference Protocol's binary tensor data extension, as KServe and Triton
have it. The header `Inference-Header-Content-Length` says how long the JSON part is:

    JSON (that many bytes) | data of the 1st binary tensor | data of the 2nd | …

where a tensor's parameter `binary_data_size` says how long its data is. Decoded, it is the JSON body that
says the same without the extension.
"""

import json
from typing import Any, Final

from sidecar.recorder.payloads import tensors
from sidecar.recorder.payloads.decoded import Decoded

_MAX_DIGITS: Final = 18


def decode_binary(json_bytes: bytes, data: bytes) -> Decoded | None:
    """`data` as one document; None where it is no such body. `json_bytes` is the header's value."""
    if not json_bytes.isdigit() or len(json_bytes) > _MAX_DIGITS or int(json_bytes) > len(data):
        return None
    try:
        tree = json.loads(data[: int(json_bytes)])
        is_cut = isinstance(tree, dict) and _fill_in(tree, data[int(json_bytes) :])
    except (ValueError, RecursionError):
        return None
    return Decoded((tree,), b"", is_cut) if isinstance(tree, dict) else None


def _fill_in(tree: dict[str, Any], raw: bytes) -> bool:
    """Put the values of binary tensors where JSON has them; whether any are missing."""
    place = 0
    is_cut = False
    for side in ("inputs", "outputs"):
        listed = tree.get(side)
        for tensor in listed if isinstance(listed, list) else ():
            size = _size(tensor)
            if size is None:
                continue
            values = _values(tensor, raw, place, size)
            place += size
            tensor["data"] = values.listed
            is_cut = is_cut or values.is_cut
    return is_cut or place < len(raw)


def _size(tensor: Any) -> int | None:
    parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
    size = parameters.pop("binary_data_size", None) if isinstance(parameters, dict) else None
    return size if isinstance(size, int) and size >= 0 else None


def _values(tensor: dict[str, Any], raw: bytes, place: int, size: int) -> tensors.Values:
    if place + size > len(raw):
        return tensors.Values([], True, True)
    return tensors.of_raw(str(tensor.get("datatype")), raw[place : place + size])
