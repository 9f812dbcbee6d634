"""gRPC bodies: messages of known services as documents, so that they can be redacted and read.

A message of a service without a schema here stays closed: what happens to it, INFERTAP_OPAQUE_BODIES says.
"""

import struct
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message

from infertap import oip
from sidecar.protocols import split_messages
from sidecar.recorder.encodings import EncodingError, open_encoding

# Messages of one direction that are decoded; beyond, a stream's record shows the first of them.
MOST_MESSAGES: Final = 4096


@dataclass(frozen=True, slots=True)
class DecodedGrpc:
    """The messages of one direction as documents, and their bytes with the compression undone."""

    documents: tuple[Any, ...]
    data: bytes
    is_cut: bool


_SERVICE: Final = "/inference.GRPCInferenceService/"
# Request and response of each known method.
_METHODS: Final[dict[str, tuple[type[Message], type[Message]]]] = {
    _SERVICE + "ModelInfer": (oip.ModelInferRequest, oip.ModelInferResponse),
    _SERVICE + "ModelMetadata": (oip.ModelMetadataRequest, oip.ModelMetadataResponse),
    _SERVICE + "ModelReady": (oip.ModelReadyRequest, oip.ModelReadyResponse),
    _SERVICE + "ServerMetadata": (oip.ServerMetadataRequest, oip.ServerMetadataResponse),
}


def decode_grpc(path: str, is_request: bool, encoding: str, data: bytes, cap: int) -> DecodedGrpc | None:
    """The messages of a known method; None for unknown ones and for bytes that are none of its messages."""
    types = _METHODS.get(path)
    split = split_messages(data, MOST_MESSAGES) if types else None
    if types is None or split is None:
        return None
    message_type = types[0] if is_request else types[1]
    documents, plain = [], []
    room = cap
    try:
        for each in split.messages:
            opened = open_encoding(encoding, each.data, room).data if each.is_compressed else each.data
            room = max(room - len(opened), 1)
            message = message_type()
            message.ParseFromString(opened)
            documents.append(_document(message))
            plain.append(struct.pack(">BI", 0, len(opened)) + opened)
    except (EncodingError, DecodeError, ValueError, struct.error):
        return None
    return DecodedGrpc(tuple(documents), b"".join(plain), split.is_cut)


def _document(message: Message) -> dict[str, Any]:
    if isinstance(message, oip.ModelInferRequest):
        return _infer(message, "inputs", list(message.raw_input_contents))
    if isinstance(message, oip.ModelInferResponse):
        return _infer(message, "outputs", list(message.raw_output_contents))
    return _plain(message)


def _plain(message: Message) -> dict[str, Any]:
    return dict(MessageToDict(message, preserving_proto_field_name=True))


def _infer(message: Any, side: str, raw: list[bytes]) -> dict[str, Any]:
    """An inference message by the names that REST uses: values under `data`, whatever carried them."""
    tensors = getattr(message, side)
    document: dict[str, Any] = {"model_name": message.model_name}
    for name in ("model_version", "id"):
        if getattr(message, name):
            document[name] = getattr(message, name)
    if message.parameters:
        document["parameters"] = {name: _parameter(message.parameters[name]) for name in message.parameters}
    document[side] = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
            "data": _raw_values(tensor.datatype, raw[number]) if number < len(raw) else _values(tensor),
        }
        for number, tensor in enumerate(tensors)
    ]
    return document


def _parameter(parameter: Any) -> Any:
    chosen = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, chosen) if chosen else None


def _values(tensor: Any) -> list[Any]:
    contents = tensor.contents
    for descriptor, values in contents.ListFields():
        if descriptor.name == "bytes_contents":
            return [value.decode("utf-8", "replace") for value in values]
        return list(values)
    return []


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


def _raw_values(datatype: str, raw: bytes) -> list[Any]:
    """Values of a raw tensor: little-endian and packed; BYTES elements have a 4-byte length each."""
    if datatype == "BYTES":
        return _raw_strings(raw)
    letter = _FORMATS.get(datatype)
    if letter is None:
        raise ValueError("tensor of an unknown type")
    return list(struct.unpack(f"<{len(raw) // struct.calcsize(letter)}{letter}", raw))


def _raw_strings(raw: bytes) -> list[str]:
    strings = []
    place = 0
    while place < len(raw):
        (size,) = struct.unpack_from("<I", raw, place)
        place += 4
        if place + size > len(raw):
            raise ValueError("string beyond its tensor")
        strings.append(raw[place : place + size].decode("utf-8", "replace"))
        place += size
    return strings
