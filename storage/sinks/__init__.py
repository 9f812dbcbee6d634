"""Sinks: forwards what the archive keeps to systems that teams already have, at least once.

The door of the room. Nothing of a kind is imported here: a kind may need packages that few install.
"""

from storage.sinks.forwarding import Around
from storage.sinks.interface import Batch, OpenSink, Refused, Sink, SinkError, record_id
from storage.sinks.numbers import SinkNumbers
from storage.sinks.progress import SetAside
from storage.sinks.running import Sinks, UnknownSinkError
from storage.sinks.sinks_file import SinkSettings, read_sinks

__all__ = [
    "Around",
    "Batch",
    "OpenSink",
    "Refused",
    "SetAside",
    "Sink",
    "SinkError",
    "SinkNumbers",
    "SinkSettings",
    "Sinks",
    "UnknownSinkError",
    "read_sinks",
    "record_id",
]
