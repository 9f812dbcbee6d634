"""Tap: follows the bytes of connections, adds the request id, and makes exchanges of what it saw.

Pure: no I/O, no clock, no randomness of its own; those are arguments. Uses `sidecar.protocols`, knows
nothing of sockets. For the relay:

    context = TapContext.make(TapSettings.of(settings), row, outbox.hand_over, os.urandom)
    context.ledger.wall_offset_ns = time.time_ns() - time.monotonic_ns()
    tap = sniffing(context, ConnectionFacts(...))          # one for each connection

and then as `OpeningTap` and `Tap` document.
"""

from sidecar.tap.capture import CaptureBudget
from sidecar.tap.connection_facts import ConnectionFacts
from sidecar.tap.http2 import forget_remembered
from sidecar.tap.interface import OpeningTap, Refused, Tap, TapContext, TapSettings
from sidecar.tap.ledger import Ledger
from sidecar.tap.sampling import SamplingRules
from sidecar.tap.sniffing import sniffing

__all__ = [
    "CaptureBudget",
    "ConnectionFacts",
    "Ledger",
    "OpeningTap",
    "Refused",
    "SamplingRules",
    "Tap",
    "TapContext",
    "TapSettings",
    "forget_remembered",
    "sniffing",
]
