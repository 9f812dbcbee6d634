"""Copied spool: a volume that was cloned, or set back: two sidecars under one spool id."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.calls import Calls, number_of
from tests.faults.settling import check_data

if TYPE_CHECKING:
    from tests.journeys.conftest import Sidecar, Storage

pytestmark = pytest.mark.faults


def test_copy_that_is_behind_goes_on_under_an_id_of_its_own(
    start_sidecar: "Callable[..., Sidecar]",
    start_storage: "Callable[..., Storage]",
    calls: Calls,
    tmp_path: Path,
) -> None:
    """It finds that storage has sequences it never gave out: what both hold is there twice, nothing lacks."""
    storage = start_storage()
    original, copy = tmp_path / "original", tmp_path / "copy"
    first = start_sidecar(calls.model, storage=storage.address, spool_dir=str(original))
    calls.make(first, 30)
    first.await_account(lambda each: each["spool"]["acked"] == 30)
    assert first.stop() == 0
    shutil.copytree(original, copy)
    first = start_sidecar(calls.model, storage=storage.address, spool_dir=str(original))
    calls.make(first, 20)
    first.await_account(lambda each: each["spool"]["acked"] == 50)
    second = start_sidecar(calls.model, storage=storage.address, spool_dir=str(copy))
    calls.make(second, 10)
    account = second.await_account(
        lambda each: each["spool"]["acked"] == 40 and each["spool"]["pending"] == 0 and each["balanced"], 75
    )
    assert second.events("spool_forked")
    assert account["spool"]["appended_ever"] == 40
    records = storage.records()
    assert {number_of(record.request_id) for record in records} == set(range(60))
    assert len({record.spool_id for record in records}) == 2
    assert len({(record.spool_id, record.sequence) for record in records}) == len(records)
    once = {record.call_id: record for record in records}
    assert len(once) == 60
    check_data(list(once.values()))
    assert second.stop() == 0
    assert first.stop() == 0
