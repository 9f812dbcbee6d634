"""gRPC bodies: messages of known services as documents, so that they can be redacted and read.

Services are known here, or by a schema that is handed in. Bytes that may be kept are encoded anew from what
was decoded, so that nothing a rule has not seen is in them: no unknown field, no earlier value of a field
that comes twice.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message

from infertap import oip
from sidecar.protocols import Message as GrpcMessage
from sidecar.protocols import split_messages
from sidecar.recorder.encodings import BombError, EncodingError, open_encoding
from sidecar.recorder.payloads import tensorflow_messages, tensors, torchserve_messages
from sidecar.recorder.payloads.decoded import Decoded, Document
from sidecar.recorder.payloads.descriptors import MethodTypes
from sidecar.recorder.payloads.message_tree import read_message

# Messages of one direction that are decoded; beyond, a stream's record shows the first of them.
MOST_MESSAGES: Final = 4096


@dataclass(frozen=True, slots=True)
class Opened:
    """Messages of one direction, compression undone; `is_cut` where more follows."""

    messages: list[bytes]
    is_cut: bool


def is_known(path: str) -> bool:
    """Whether the method at `path` has its schema here."""
    return path in _METHODS


def decode_grpc(  # noqa: PLR0917
    path: str, is_request: bool, encoding: str, data: bytes, cap: int, types: MethodTypes | None = None
) -> Decoded | None:
    """The messages of a known method, or of one that has `types`; None for bytes that are none of these.

    `encoding` is what `grpc-encoding` names; compressed messages become `cap` bytes in all at most.
    """
    method = _METHODS.get(path, types)
    opened = open_messages(encoding, data, cap) if method else None
    if method is None or opened is None:
        return None
    message_type = method[0] if is_request else method[1]
    read = _READERS.get(message_type, _known_any if path in _METHODS else read_message)
    documents: list[Document] = []
    plain: list[bytes] = []
    try:
        for each in opened.messages:
            message = message_type.FromString(each)
            documents.append(read(message))
            message.DiscardUnknownFields()
            plain.append(frame(message.SerializeToString()))
    except (DecodeError, ValueError):
        return None
    return Decoded(
        tuple(document.tree for document in documents),
        b"".join(plain) if all(document.is_readable for document in documents) else b"",
        opened.is_cut or any(document.is_cut for document in documents),
    )


def open_messages(encoding: str, data: bytes, cap: int) -> Opened | None:
    """The messages framed in `data`, compressed as `encoding` names; of `cap` bytes in all at most.

    None where the bytes are no such framing, or the coding can't be undone.
    """
    split = split_messages(data, MOST_MESSAGES)
    if split is None:
        return None
    opened: list[bytes] = []
    room = cap
    try:
        for each in split.messages:
            plain = _opened(each, encoding, room)
            if plain is None:
                return Opened(opened, True)
            room -= len(plain)
            opened.append(plain)
    except EncodingError:
        return None
    return Opened(opened, split.is_cut)


def _opened(message: GrpcMessage, encoding: str, room: int) -> bytes | None:
    """The message with its compression undone; None where that is more than `room`."""
    if not message.is_compressed:
        return message.data
    try:
        opened = open_encoding(encoding, message.data, room)
    except BombError:
        return None
    return None if opened.cut else opened.data


def frame(encoded: bytes) -> bytes:
    """A message as gRPC sends it, not compressed."""
    return struct.pack(">BI", 0, len(encoded)) + encoded


def _known_any(message: Message) -> Document:
    return Document(dict(MessageToDict(message, preserving_proto_field_name=True)))


def _request(message: Any) -> Document:
    document = _infer(message, "inputs", message.inputs, message.raw_input_contents)
    if message.outputs:
        document.tree["outputs"] = [
            {"name": output.name} | _parameters(output.parameters) for output in message.outputs
        ]
    return document


def _response(message: Any) -> Document:
    return _infer(message, "outputs", message.outputs, message.raw_output_contents)


def _streamed(message: Any) -> Document:
    document = _response(message.infer_response) if message.HasField("infer_response") else Document({})
    if message.error_message:
        document.tree["error_message"] = message.error_message
    return document


def _infer(message: Any, side: str, listed: Sequence[Any], raw: Sequence[bytes]) -> Document:
    """An inference message by the names that REST uses: values under `data`, whatever carried them."""
    if len(raw) > len(listed):
        raise ValueError("raw contents of no tensor")
    tree: dict[str, Any] = {}
    for name in ("model_name", "model_version", "id"):
        if getattr(message, name):
            tree[name] = getattr(message, name)
    tree |= _parameters(message.parameters)
    found: list[tensors.Values] = []
    tree[side] = []
    for number, tensor in enumerate(listed):
        values = _values(tensor.contents)
        if number < len(raw):
            values.append(tensors.of_raw(tensor.datatype, raw[number]))
        found += values
        described = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        data = [value for each in values for value in each.listed]
        tree[side].append(described | _parameters(tensor.parameters) | {"data": data})
    return Document(tree, all(each.is_readable for each in found), any(each.is_cut for each in found))


def _parameters(parameters: Any) -> dict[str, Any]:
    if not parameters:
        return {}
    return {"parameters": {name: _parameter(parameters[name]) for name in parameters}}


def _parameter(parameter: Any) -> Any:
    chosen = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, chosen) if chosen else None


def _values(contents: Any) -> list[tensors.Values]:
    """The values of typed contents; there should be one kind of them, but a message may hold several."""
    return [
        tensors.of_elements(values)
        if descriptor.name == "bytes_contents"
        else tensors.of_numbers(values, len(values))
        for descriptor, values in contents.ListFields()
    ]


_READERS: Final[dict[type[Message], Callable[[Any], Document]]] = {
    oip.ModelInferRequest: _request,
    oip.ModelInferResponse: _response,
    oip.ModelStreamInferResponse: _streamed,
    **tensorflow_messages.READERS,
    **torchserve_messages.READERS,
}
_SERVICE: Final = "/inference.GRPCInferenceService/"
# Request and response of each known method.
_METHODS: Final[dict[str, MethodTypes]] = {
    _SERVICE + "ModelInfer": (oip.ModelInferRequest, oip.ModelInferResponse),
    _SERVICE + "ModelStreamInfer": (oip.ModelInferRequest, oip.ModelStreamInferResponse),
    _SERVICE + "ModelMetadata": (oip.ModelMetadataRequest, oip.ModelMetadataResponse),
    _SERVICE + "ModelReady": (oip.ModelReadyRequest, oip.ModelReadyResponse),
    _SERVICE + "ServerLive": (oip.ServerLiveRequest, oip.ServerLiveResponse),
    _SERVICE + "ServerMetadata": (oip.ServerMetadataRequest, oip.ServerMetadataResponse),
    _SERVICE + "ServerReady": (oip.ServerReadyRequest, oip.ServerReadyResponse),
    **tensorflow_messages.METHODS,
    **torchserve_messages.METHODS,
}
