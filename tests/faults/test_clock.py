"""Clock: it jumps while calls pass. Sequences order, not times; nothing is lost, doubled or refused."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.calls import number_of
from tests.faults.settling import settle
from tests.faults.tools import under_time
from tests.journeys.conftest import await_true

if TYPE_CHECKING:
    from tests.faults.calls import Calls
    from tests.journeys.conftest import Sidecar, Storage

pytestmark = pytest.mark.faults

JUMPS = ("+0", "-3h", "+2d", "-10y", "+0")


def test_clock_that_jumps_changes_no_order_and_loses_nothing(
    start_sidecar: "Callable[..., Sidecar]",
    start_storage: "Callable[..., Storage]",
    calls: "Calls",
    tmp_path: Path,
) -> None:
    """Hours back, days on, ten years back: sequences go on in the order of the calls, all are stored."""
    offset = tmp_path / "offset"
    offset.write_text(JUMPS[0])
    under = (*under_time(JUMPS[0]), f"FAKETIME_TIMESTAMP_FILE={offset}", "FAKETIME_NO_CACHE=1")
    under = tuple(each for each in under if not each.startswith("FAKETIME="))
    storage = start_storage()
    sidecar = start_sidecar(calls.model, storage=storage.address, under=under)
    accepting = 1
    for jump in JUMPS:
        offset.write_text(jump)
        # A relay looks at the wall clock once a minute; a new one does at once.
        os.kill(sidecar.pid("relay 0"), signal.SIGKILL)
        accepting += 1
        await_true(lambda wanted=accepting: len(sidecar.events("accepting")) == wanted, "a new relay")
        calls.make(sidecar, 20)
        wanted = len(calls.begun)
        sidecar.await_account(lambda each, wanted=wanted: each["spool"]["acked"] == wanted)
    records = sorted(storage.records(), key=lambda record: record.sequence)
    assert [number_of(record.request_id) for record in records] == list(range(len(calls.begun)))
    starts = [record.timing.start.ToSeconds() for record in records]
    assert starts != sorted(starts), "the clock did jump"
    assert len({record.call_id for record in records}) == len(records)
    settle(sidecar, storage, calls)
