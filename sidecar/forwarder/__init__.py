"""Forwarder: sends what the spool holds to storage, again and again until it is acknowledged.

The door of the room. It touches the spool and one gRPC channel. An entry leaves the spool's pending ones only
by storage's acknowledgement, which means durable there; storage keeps each once, however often it is sent.
"""

from sidecar.forwarder.forwarder import Forwarder, ForwarderStatus

__all__ = ["Forwarder", "ForwarderStatus"]
