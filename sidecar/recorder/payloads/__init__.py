"""Payloads: what a call's payloads tell, one module for each protocol of models.

The door of the room. Pure: from redacted documents to a View. A reader that does not understand a payload
says so by None, and never fails a record.
"""

from sidecar.recorder.payloads.grpc_bodies import DecodedGrpc, decode_grpc
from sidecar.recorder.payloads.reading import understand
from sidecar.recorder.payloads.view import CallPayloads, Side, Tensor, View

__all__ = ["CallPayloads", "DecodedGrpc", "Side", "Tensor", "View", "decode_grpc", "understand"]
