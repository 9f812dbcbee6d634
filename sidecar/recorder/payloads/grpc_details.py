"""gRPC details: the messages in the details of a failed call's status, which come as the metadata
`grpc-status-details-bin`: base64 of a google.rpc.Status (github.com/googleapis/googleapis, google/rpc).
Where both ends are made of gRPC's own core they agree by a setting of HTTP/2 to send such metadata as it is,
after a byte of zero (gRPC's proposal G1, true binary metadata).

Pure. What comes out is raw still. Messages of types that are not google.rpc's own stay closed.
"""

import base64
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

STATUS_DETAILS: Final = b"grpc-status-details-bin"
_MOST_BYTES: Final = 64 << 10
_MOST_DETAILS: Final = 64
_PACKAGE: Final = "google.rpc."
_TYPES: Final[dict[str, type[Message]]] = {
    _PACKAGE + name: getattr(error_details_pb2, name)
    for name in (
        "BadRequest",
        "DebugInfo",
        "ErrorInfo",
        "Help",
        "LocalizedMessage",
        "PreconditionFailure",
        "QuotaFailure",
        "RequestInfo",
        "ResourceInfo",
        "RetryInfo",
    )
}


def read_details(value: bytes) -> tuple[dict[str, Any], ...]:
    """The messages in such a `value`, each with its type's name as `@type`; none where it can't be read."""
    if len(value) > _MOST_BYTES:
        return ()
    try:
        status = status_pb2.Status.FromString(_plain(value))
        return tuple(
            _document(each.type_url.rpartition("/")[2], each.value) for each in status.details[:_MOST_DETAILS]
        )
    except (ValueError, DecodeError):
        return ()


def _plain(value: bytes) -> bytes:
    if value[:1] == b"\0":
        return value[1:]
    # Padding may be left out (grpc.io, PROTOCOL-HTTP2).
    return base64.b64decode(value + b"=" * (-len(value) % 4))


def _document(name: str, encoded: bytes) -> dict[str, Any]:
    message_type = _TYPES.get(name)
    if message_type is None:
        return {"@type": name}
    message = message_type.FromString(encoded)
    return {"@type": name} | MessageToDict(message, preserving_proto_field_name=True)
