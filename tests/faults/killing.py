"""Killing: a sidecar whole, and what its spool can know of its calls then."""

import contextlib
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.calls import Calls
    from tests.journeys.conftest import Sidecar


def await_note(sidecar: "Sidecar", calls: "Calls") -> int:
    """Until the spool is told of the relays' counts again; returns how many calls were begun before, and the
    relays may not have met the last one of each client.
    """
    begun = len(calls.begun)
    for _ in range(2):  # the first commit may have begun before
        appended = sidecar.account()["hand_over"]["appended"]
        sidecar.await_account(lambda each, appended=appended: each["hand_over"]["appended"] > appended)
    return begun


def kill_whole(sidecar: "Sidecar") -> None:
    """Every process of it, as an out-of-memory kill of its container does."""
    for pid in (sidecar.process.pid, sidecar.pid("relay 0"), sidecar.pid("recorder")):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    sidecar.process.wait()
