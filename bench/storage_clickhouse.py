"""Storage over ClickHouse: the same questions as bench.storage, to the engine of the tests.

    python -m bench.storage_clickhouse [--records 2000000] [--directory DIRECTORY]

A real storage process, ClickHouse's own client, and the real engine in the tests' server (`make clickhouse`),
all on one machine: what it costs and how it grows, not what a server of its own can do. Prints the figures;
docs/scaling.md has them.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.processes import cpu_us, memory_mib
from bench.storage import asked_figures, fill, ingest_figures, storage_running
from bench.storage_senders import DAY_NS, Spool

_SPOOLS: Final = 4
_RECORDS: Final = 2_000_000
# Encoded ahead of each stretch of sending.
_STRETCH: Final = 51_200


def main() -> int:
    """Measure; returns 0, or 1 where there is no ClickHouse here."""
    parser = argparse.ArgumentParser(prog="python -m bench.storage_clickhouse")
    parser.add_argument("--records", type=int, default=_RECORDS)
    parser.add_argument("--directory", type=Path, help="where the data is (default: the temporary one)")
    asked = parser.parse_args()
    # The tests' server; nothing else of theirs is used.
    from tests.storage.archive.clickhouse_process import PYTHON, ClickhouseServer  # noqa: PLC0415

    if not PYTHON.exists():
        print("no ClickHouse here: make clickhouse", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="infertap-bench-", dir=asked.directory) as directory:
        server = ClickhouseServer(Path(directory) / "clickhouse")
        server.start()
        try:
            assert server.process is not None
            place, pid = server.url(server.database()), server.process.pid
            found = _measure(Path(directory), place, pid, asked.records)
        finally:
            server.kill()
    for scenario, figures in found.items():
        for metric, value in figures.items():
            print(f"{scenario:12} {metric:26} {value:12,.1f}")
    return 0


def _measure(directory: Path, archive: str, server: int, records: int) -> Mapping[str, Mapping[str, float]]:
    first_ns = (time.time_ns() // DAY_NS - 1) * DAY_NS
    spools = [Spool(number, first_ns, DAY_NS * _SPOOLS // records) for number in range(_SPOOLS)]
    with storage_running(directory, archive) as (pid, address):
        before = cpu_us([pid]), cpu_us([server])
        sent = fill(address, spools, records, _STRETCH)
        count = sum(each.records for each in sent)
        ingest = {
            **ingest_figures(sent),
            "cpu_us_per_record": (cpu_us([pid]) - before[0]) / count,
            "server_cpu_us_per_record": (cpu_us([server]) - before[1]) / count,
            "rss_mib": memory_mib([pid], "VmHWM"),
        }
        found = asked_figures(address, spools, first_ns, sent)
    return {"ingest_2k": ingest, **found}


if __name__ == "__main__":
    sys.exit(main())
