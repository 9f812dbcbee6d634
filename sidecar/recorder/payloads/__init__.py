"""Payloads: what a call's payloads tell, one module for each protocol of models.

The door of the room. Pure: from redacted documents to a View. A reader that does not understand a payload
says so by None, and never fails a record.
"""

from sidecar.recorder.payloads.binary_tensors import decode_binary
from sidecar.recorder.payloads.decoded import Decoded
from sidecar.recorder.payloads.descriptors import (
    DESCRIPTOR_BYTES,
    DescriptorError,
    MethodTypes,
    missing_imports,
    read_methods,
    read_set,
    service_of,
)
from sidecar.recorder.payloads.grpc_bodies import decode_grpc, frame, is_known, open_messages
from sidecar.recorder.payloads.grpc_details import STATUS_DETAILS, read_details
from sidecar.recorder.payloads.grpc_tails import WebFrames, messages_in_tail, read_web_frames
from sidecar.recorder.payloads.media import Media, describe
from sidecar.recorder.payloads.reading import understand
from sidecar.recorder.payloads.view import CallPayloads, Failure, Side, Tensor, View
from sidecar.recorder.payloads.wire_walk import Walk, walk_messages

__all__ = [
    "DESCRIPTOR_BYTES",
    "STATUS_DETAILS",
    "CallPayloads",
    "Decoded",
    "DescriptorError",
    "Failure",
    "Media",
    "MethodTypes",
    "Side",
    "Tensor",
    "View",
    "Walk",
    "WebFrames",
    "decode_binary",
    "decode_grpc",
    "describe",
    "frame",
    "is_known",
    "messages_in_tail",
    "missing_imports",
    "open_messages",
    "read_details",
    "read_methods",
    "read_set",
    "read_web_frames",
    "service_of",
    "understand",
    "walk_messages",
]
