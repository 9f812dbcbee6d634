"""Relay: the sockets of the hot path. Accepts clients, dials the model, passes bytes both ways through a tap.

The door of the room; the process itself is `python -m sidecar.relay`. Imports none of lmdb, grpc, aiohttp and
protobuf, and knows protocols only through `sidecar.tap`.
"""

from sidecar.relay.connection import Connection, OpenTap
from sidecar.relay.dialling import Dialler
from sidecar.relay.listener import Listener
from sidecar.relay.traffic import Traffic

__all__ = ["Connection", "Dialler", "Listener", "OpenTap", "Traffic"]
