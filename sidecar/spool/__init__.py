"""Spool: the sidecar's durable local buffer, an LMDB ring of opaque bytes.

The door of the room. Appends are durable when they return; every appended record stays accounted for until
the end of time, also when it had to make room. It stores bytes that it cannot read, and touches its directory
only.
"""

from sidecar.spool.entries import DeadLetter, Gap, SpoolAccount, Spooled
from sidecar.spool.errors import (
    SpoolError,
    SpoolFailed,
    SpoolForked,
    SpoolFull,
    SpoolLocked,
    SpoolReplaced,
)
from sidecar.spool.spool import Spool

__all__ = [
    "DeadLetter",
    "Gap",
    "Spool",
    "SpoolAccount",
    "SpoolError",
    "SpoolFailed",
    "SpoolForked",
    "SpoolFull",
    "SpoolLocked",
    "SpoolReplaced",
    "Spooled",
]
