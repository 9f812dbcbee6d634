"""The measure of storage: its records, and a run of few."""

import itertools
import json
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from bench import storage
from bench.results import read
from bench.storage_senders import BATCH_ENTRIES, RECORD_BYTES, Spool
from infertap import v1


def test_records() -> None:
    """A spool's records are of 2 KiB, of one call each, and a chain."""
    spool = Spool(1, 10**18, 10**9)
    batches = [v1.IngestRequest.FromString(each).batch for each in spool.batches(2)]
    sent = [each.record for batch in batches for each in batch.entries]
    assert [each.sequence for each in sent] == list(range(1, 2 * BATCH_ENTRIES + 1))
    assert {len(each.record) for each in sent} == {RECORD_BYTES}
    records = [v1.Record.FromString(each.record) for each in sent]
    assert len({each.call_id for each in records}) == len(records)
    assert {each.call_id[14] for each in records} == {"7"}
    for one, other in itertools.pairwise(sent):
        sealed = one.previous_hash + one.sequence.to_bytes(8, "big") + one.salt + one.record
        assert other.previous_hash == sha256(sealed).digest()


def test_brief_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few records go through a real storage, every question is answered, and the figures are written."""
    out = tmp_path / "storage.json"
    monkeypatch.setattr(storage, "_ASKED", 3)
    monkeypatch.setattr(storage, "_BRIEF_RECORDS", 12_800)
    monkeypatch.setattr(sys, "argv", ["storage", "--brief", "--directory", str(tmp_path), "--out", str(out)])
    assert storage.main() == 0
    results = read(out)
    assert results is not None
    for bar in storage.BARS:
        assert results.value(bar.scenario, "duckdb", bar.metric)
    assert len(storage.verdicts(results)) == len(storage.BARS)
    assert json.loads(out.read_text())["machine"]["cores"]
