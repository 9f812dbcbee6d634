"""The measure of storage over ClickHouse: a run of few."""

import sys
from pathlib import Path

import pytest

from bench import storage, storage_clickhouse
from bench.storage_senders import BATCH_ENTRIES
from tests.storage.archive.clickhouse_process import PYTHON

pytestmark = [
    pytest.mark.clickhouse,
    pytest.mark.skipif(not PYTHON.exists(), reason="no ClickHouse here: make clickhouse"),
]


def test_run_of_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fewer records than a stretch go through a real storage into ClickHouse, and every figure is printed."""
    records = 8 * BATCH_ENTRIES
    monkeypatch.setattr(storage, "_ASKED", 3)
    given = ["storage_clickhouse", "--records", str(records), "--directory", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", given)
    assert storage_clickhouse.main() == 0
    printed = capsys.readouterr().out.splitlines()
    found = {(line.split()[0], line.split()[1]): float(line.split()[2].replace(",", "")) for line in printed}
    assert all(found["ingest_2k", each] > 0 for each in ("records_per_second", "cpu_us_per_record"))
    assert found["ingest_2k", "server_cpu_us_per_record"] > 0
    assert all(found[each, "p99_ms"] > 0 for each in ("get", "page", "stats", "text"))
