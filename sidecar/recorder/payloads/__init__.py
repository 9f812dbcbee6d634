"""Payloads: what a call's payloads tell, one module for each protocol of models.

The door of the room. Pure: from redacted documents to a View. A reader that does not understand a payload
says so by None, and never fails a record.
"""

from sidecar.recorder.payloads.binary_tensors import decode_binary
from sidecar.recorder.payloads.decoded import Decoded
from sidecar.recorder.payloads.grpc_bodies import decode_grpc
from sidecar.recorder.payloads.grpc_details import STATUS_DETAILS, read_details
from sidecar.recorder.payloads.grpc_tails import WebFrames, messages_in_tail, read_web_frames
from sidecar.recorder.payloads.media import Media, describe
from sidecar.recorder.payloads.reading import understand
from sidecar.recorder.payloads.view import CallPayloads, Failure, Side, Tensor, View

__all__ = [
    "STATUS_DETAILS",
    "CallPayloads",
    "Decoded",
    "Failure",
    "Media",
    "Side",
    "Tensor",
    "View",
    "WebFrames",
    "decode_binary",
    "decode_grpc",
    "describe",
    "messages_in_tail",
    "read_details",
    "read_web_frames",
    "understand",
]
