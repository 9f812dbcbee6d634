"""Sinks: forwards what the archive keeps to systems that teams already have, at least once.

The door of the room.
"""

from storage.sinks.interface import Batch, OpenSink, Refused, Sink, SinkError, record_id

__all__ = ["Batch", "OpenSink", "Refused", "Sink", "SinkError", "record_id"]
