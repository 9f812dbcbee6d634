"""Archive sizes: bytes on disk, and work, for a record of 2 KiB in each engine, as docs/scaling.md plans.

    python -m bench.archive_sizes [--records 100000] [--out FILE]

Appends the records of bench.storage through the archive's own interface, in commits as storage makes them:
once with bodies of words, which compress well, once with bodies of base64 of random bytes, which hardly do;
what people send lies in between. DuckDB's figures are of the directory once it is closed; ClickHouse's are
of the parts in use, as inserted and as merged. The server is the tests' own (`make clickhouse`; left out
where that is absent), so its times are no measure of ClickHouse. Writes build/bench/archive_sizes.json.
"""

import argparse
import base64
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from bench.storage_senders import BATCH_ENTRIES, DAY_NS, Spool
from infertap import v1
from storage.archive import Archive, RecordEntry, open_archive

_OUT: Final = Path("build/bench/archive_sizes.json")
_RECORDS: Final = 100_000
_COMMIT: Final = 2048
_MEMORY: Final = 512 << 20
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.archive_sizes")
    parser.add_argument("--records", type=int, default=_RECORDS)
    parser.add_argument("--out", type=Path, default=_OUT)
    asked = parser.parse_args()
    figures: dict[str, Any] = {"records": asked.records}
    for bodies in ("words", "random"):
        with tempfile.TemporaryDirectory(prefix="infertap-bench-") as directory:
            figures[f"duckdb, {bodies}"] = _duckdb(Path(directory) / "archive", asked.records, bodies)
        with tempfile.TemporaryDirectory(prefix="infertap-bench-") as directory:
            if (found := _clickhouse(Path(directory), asked.records, bodies)) is not None:
                figures[f"clickhouse, {bodies}"] = found
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures, indent=2)
    asked.out.write_text(text + "\n")
    print(text)


def _duckdb(place: Path, records: int, bodies: str) -> dict[str, Any]:
    archive = open_archive(str(place), _MEMORY)
    figures = _fill(archive, records, bodies)
    archive.close()
    on_disk = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    return {"bytes_per_record": round(on_disk / records), **figures}


def _clickhouse(directory: Path, records: int, bodies: str) -> dict[str, Any] | None:
    # The tests' server; nothing else of theirs is used.
    from tests.storage.archive.clickhouse_process import PYTHON, ClickhouseServer  # noqa: PLC0415

    if not PYTHON.exists():
        print("no ClickHouse here: make clickhouse")
        return None
    server = ClickhouseServer(directory)
    server.start()
    try:
        return _clickhouse_of(server, records, bodies)
    finally:
        server.kill()


def _clickhouse_of(server: Any, records: int, bodies: str) -> dict[str, Any]:
    from storage.archive.clickhouse_connection import Connection  # noqa: PLC0415
    from storage.archive.clickhouse_location import read_location  # noqa: PLC0415

    url = server.url(server.database())
    archive = open_archive(url, _MEMORY)
    before = _cpu_seconds(server.process.pid)
    figures = _fill(archive, records, bodies)
    figures["server_cpu_us_per_record"] = round(
        (_cpu_seconds(server.process.pid) - before) / records * 1e6, 1
    )
    archive.close()
    connection = Connection(read_location(url), _MEMORY)
    sizes = f"""
        SELECT table, sum(bytes_on_disk) / {records}, count() FROM system.parts
        WHERE active AND database = '{connection.location.database}' GROUP BY table
    """
    inserted = {table: (round(size, 1), parts) for table, size, parts in connection.rows(sizes)}
    for table in inserted:
        connection.command(f"OPTIMIZE TABLE {connection.location.database}.{table} FINAL")
    merged = {table: round(size, 1) for table, size, _ in connection.rows(sizes)}
    connection.close()
    return {
        "bytes_per_record": round(sum(merged.values())),
        "as_inserted": inserted,
        "merged": merged,
        **figures,
    }


def _fill(archive: Archive, records: int, bodies: str) -> dict[str, Any]:
    spent = cpu = 0.0
    for commit in _commits(records, bodies):
        began, used = time.monotonic(), time.process_time()
        archive.append(commit, time.time_ns())
        spent += time.monotonic() - began
        cpu += time.process_time() - used
    return {"records_per_second": round(records / spent), "cpu_us_per_record": round(cpu / records * 1e6, 1)}


def _commits(records: int, bodies: str) -> Iterator[list[RecordEntry]]:
    spool = Spool(1, time.time_ns() // DAY_NS * DAY_NS, DAY_NS // records)
    chance = random.Random(1)
    waiting: list[RecordEntry] = []
    for batch in spool.batches(-(-records // BATCH_ENTRIES)):
        for entry in v1.IngestRequest.FromString(batch).batch.entries:
            waiting.append(_entry(spool.spool_id, entry.record, chance if bodies == "random" else None))
        if len(waiting) >= _COMMIT:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _entry(spool_id: bytes, sent: v1.SpooledRecord, chance: random.Random | None) -> RecordEntry:
    record, parsed = sent.record, v1.Record.FromString(sent.record)
    if chance is not None:
        for payload in (parsed.request, parsed.response):
            size = len(payload.data)
            payload.data = base64.b64encode(chance.randbytes(size))[:size]
        record = parsed.SerializeToString()
    hashed = sha256(sent.previous_hash + sent.sequence.to_bytes(8, "big") + sent.salt + record).digest()
    return RecordEntry(spool_id, sent.sequence, sent.previous_hash, hashed, sent.salt, record, parsed)


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process and its threads (proc_pid_stat(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


if __name__ == "__main__":
    main()
