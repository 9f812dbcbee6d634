"""Recording: joins the relay to the tap and the hand-off, which know nothing of each other.

Touches randomness, the clocks and the inherited hand-off pair, so that the tap need not.
"""

import asyncio
import functools
import os
import socket
import time
from dataclasses import dataclass
from typing import Final

from sidecar.config import Settings
from sidecar.counters import Row
from sidecar.handoff import Outbox, Reports
from sidecar.relay.connection import OpenTap
from sidecar.tap import CaptureBudget, TapContext, TapSettings, sniffing

# How often the wall clock is asked for; between, calls are dated by the monotonic clock.
_WALL_CLOCK_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Recording:
    """What the relay records with."""

    open_tap: OpenTap
    outbox: Outbox
    reports: Reports


def open_recording(settings: Settings, handoff_descriptor: int, row: Row, recorder: Row) -> Recording:
    """A tap for each connection, and the outbox that their calls go to.

    `row` is the relay's of the counters page, `recorder` the recorder's.
    """
    tap_settings = TapSettings.of(settings)
    budget = CaptureBudget(tap_settings.capture_budget_bytes, tap_settings.body_limit_bytes)
    pair = socket.socket(fileno=handoff_descriptor)
    pair.setblocking(False)
    # At most half the budget waits for the recorder: a stopped one leaves room to the calls in flight.
    outbox = Outbox(pair, budget, row["handed_over"], settings.capture_budget_bytes // 2)
    reports = Reports(outbox.send_aside, lambda: recorder["started_monotonic_ns"])
    context = TapContext.make(tap_settings, row, outbox.hand_over, os.urandom, budget, reports=reports)
    _keep_wall_clock(context)
    return Recording(functools.partial(sniffing, context), outbox, reports)


def _keep_wall_clock(context: TapContext) -> None:
    context.ledger.wall_offset_ns = time.time_ns() - time.monotonic_ns()
    asyncio.get_running_loop().call_later(_WALL_CLOCK_SECONDS, _keep_wall_clock, context)
