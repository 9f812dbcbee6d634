"""Spool: how fast records are durable on a sidecar's disk, ready after a restart, and gone to storage.

    python -m bench.spool [--scenarios spool_2k,restart_1g,drain] [--rounds 3] [--brief] [--spool DIRECTORY]

`spool_2k`: records of 2 KiB a second through `Spool.append`, in the pipeline's commits of 64, on one core,
and what a commit takes. `restart_1g`: a recorder that was killed with a GiB in its spool, from its start to
the first new record. `drain`: a recorder whose storage was away gets 1,000 calls of 2 KiB a second all the
time; by how many records a second its backlog shrinks once storage is back, and what memory it took on
meanwhile. Recorder and storage are real processes on the same cores. Writes bench/results/spool.json.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.bars import Bar, stands
from bench.processes import StartError, await_ports, free_port, memory_mib, started
from bench.recorder_process import RecorderProcess
from bench.results import Results, Row, Run, medians, merged, read, this_machine, write
from bench.storage_senders import Spool as Making
from infertap import v1
from sidecar.counters import Row as Counters
from sidecar.recorder.pipeline import COMMIT_RECORDS
from sidecar.spool import Spool

_OUT: Final = Path("bench/results/spool.json")
_BRIEF_OUT: Final = Path("build/bench/spool.json")
_SYSTEM: Final = "infertap"
_GIB: Final = 1 << 30
_LIVE_PER_SECOND: Final = 1_000
_PATIENCE_SECONDS: Final = 90.0
BARS: Final = (
    Bar("spool_2k", "records_per_second", "at least", 20_000.0),
    Bar("restart_1g", "seconds", "at most", 2.0),
    Bar("drain", "records_per_second", "at least", 4_000.0),
    Bar("drain", "anon_growth_mib", "at most", 16.0),
)


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    seconds: float
    spool_bytes: int
    backlog: int
    outage_seconds: float


_FULL: Final = Size(seconds=5.0, spool_bytes=_GIB, backlog=60_000, outage_seconds=10.0)
_BRIEF: Final = Size(seconds=0.5, spool_bytes=64 << 20, backlog=4_000, outage_seconds=2.0)


def main() -> int:
    """Measure; returns 0 where every bar is reached, or in a brief run whatever was measured."""
    asked = _parse()
    size = _BRIEF if asked.brief else _FULL
    rounds = asked.rounds or (1 if asked.brief else 3)
    out = asked.out or (_BRIEF_OUT if asked.brief else _OUT)
    rows: list[Row] = []
    for name in asked.scenarios:
        figures = [_in_a_directory(SCENARIOS[name], size, asked.spool) for _ in range(rounds)]
        rows += medians(name, _SYSTEM, figures)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    runs = {name: Run(now, size.seconds, rounds) for name in asked.scenarios}
    new = Results(this_machine(), now, {}, runs, (), tuple(rows))
    results = merged(read(out) if out.exists() else None, new)
    write(out, results)
    lines = verdicts(results)
    print("\n".join([*table(results), *lines, f"written to {out}"]))
    return int(not asked.brief and any(line.endswith("short") for line in lines))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.spool")
    parser.add_argument(
        "--scenarios", type=_scenarios, default=list(SCENARIOS), help=f"some of {','.join(SCENARIOS)}"
    )
    parser.add_argument("--rounds", type=int, help="of which the median counts (default: 3)")
    parser.add_argument("--spool", type=Path, help="where spools are (default: the temporary directory)")
    parser.add_argument("--brief", action="store_true", help="whether it works, not how fast")
    parser.add_argument(
        "--out", type=Path, help=f"the file of figures (default: {_OUT}; brief: {_BRIEF_OUT})"
    )
    return parser.parse_args()


def _scenarios(text: str) -> list[str]:
    names = text.split(",")
    if not set(names) <= set(SCENARIOS):
        raise argparse.ArgumentTypeError(f"expected some of {','.join(SCENARIOS)}")
    return names


def verdicts(results: Results) -> list[str]:
    """A line for each bar."""
    return stands(BARS, results, _SYSTEM)


def table(results: Results) -> list[str]:
    """All figures, a line each."""
    return [f"{row.scenario:12} {row.metric:20} {row.value:12,.2f} {row.unit}" for row in results.rows]


def _in_a_directory(
    scenario: Callable[[Path, Size], dict[str, float]], size: Size, parent: Path | None
) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="infertap-bench-", dir=parent) as directory:
        return scenario(Path(directory), size)


# -- spool_2k


def _spool_2k(directory: Path, size: Size) -> dict[str, float]:
    """Appends without end; as in a sidecar, storage acknowledges what is some seconds old."""
    records = list(_made(2_048))
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    spool = Spool.open(directory / "spool", _GIB, ring=False)
    try:
        _append(spool, records, size.seconds / 5)
        commits = sorted(_append(spool, records, size.seconds))
    finally:
        spool.close()
        os.sched_setaffinity(0, allowed)
    return {
        "records_per_second": len(commits) * COMMIT_RECORDS / sum(commits),
        "p99_ms": 1e3 * commits[len(commits) * 99 // 100],
        "max_ms": 1e3 * commits[-1],
    }


def _append(spool: Spool, records: list[tuple[bytes, bytes]], seconds: float) -> list[float]:
    commits: list[float] = []
    at = 0
    until = time.monotonic() + seconds
    while (began := time.monotonic()) < until:
        at = (at + COMMIT_RECORDS) % (len(records) - COMMIT_RECORDS)
        spool.append(records[at : at + COMMIT_RECORDS])
        commits.append(time.monotonic() - began)
    return commits


def _made(count: int) -> Iterator[tuple[bytes, bytes]]:
    """So many records of 2 KiB, with the keys of their calls."""
    making = Making(0, time.time_ns() - 10**12, 1_000)
    made = 0
    for batch in making.batches(count):
        for entry in v1.IngestRequest.FromString(batch).batch.entries:
            encoded = entry.record.record
            yield uuid.UUID(v1.Record.FromString(encoded).call_id).bytes, encoded
            made += 1
            if made == count:
                return


def _fill(directory: Path, quota_bytes: int, count: int) -> None:
    """A spool with so many unsent records, whose owner was killed."""
    records = list(_made(min(count, 4_096)))
    child = os.fork()
    if child == 0:
        spool = Spool.open(directory, quota_bytes, ring=False)
        for start in range(0, count, 512):
            spool.append([records[each % len(records)] for each in range(start, min(start + 512, count))])
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


# -- restart_1g


def _restart_1g(directory: Path, size: Size) -> dict[str, float]:
    quota = size.spool_bytes * 3 // 2
    _fill(directory / "spool", quota, size.spool_bytes // 2_300)
    began = time.monotonic()
    with RecorderProcess(directory / "spool", quota, None) as recorder:
        recorder.send(1)
        _await(lambda: recorder.row["appended"] >= 1, "the first record")
        return {"seconds": time.monotonic() - began}


# -- drain


def _drain(directory: Path, size: Size) -> dict[str, float]:
    _fill(directory / "spool", _GIB, size.backlog)
    port = free_port()
    recorder = RecorderProcess(directory / "spool", _GIB, f"127.0.0.1:{port}")
    with recorder, recorder.fed(_LIVE_PER_SECOND):
        _await(lambda: recorder.row["appended"] > _LIVE_PER_SECOND, "recording")
        before = memory_mib([recorder.pid], "RssAnon")
        time.sleep(size.outage_seconds)
        growth = memory_mib([recorder.pid], "RssAnon") - before
        with _storage(directory, port):
            _await(lambda: recorder.row["acked"] > 0, "storage is back")
            figures = _shrinking(recorder.row, size)
        figures["anon_growth_mib"] = max(growth, 0.0)
        return figures


def _shrinking(row: Counters, size: Size) -> dict[str, float]:
    """By how much pending falls a second, from the first acknowledgement until little is left."""
    began, pending, appended = time.monotonic(), row["pending"], row["appended"]
    few = min(size.backlog // 10, _LIVE_PER_SECOND)
    _await(lambda: row["pending"] < few, "the backlog is gone")
    seconds = time.monotonic() - began
    return {
        "records_per_second": (pending - row["pending"]) / seconds,
        "live_per_second": (row["appended"] - appended) / seconds,
    }


@contextmanager
def _storage(directory: Path, port: int) -> Iterator[None]:
    """A real storage process, listening."""
    web_port = free_port()
    environ = {
        **os.environ,
        "INFERTAP_ARCHIVE": str(directory / "archive"),
        "INFERTAP_STORAGE_LISTEN": f"127.0.0.1:{port}",
        "INFERTAP_WEB_LISTEN": f"127.0.0.1:{web_port}",
    }
    log = directory / "storage.log"
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    with started([sys.executable, "-m", "storage"], cores, log, environ) as process:
        await_ports(process, log, (port, web_port))
        yield


def _await(claim: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    while not claim():
        if time.monotonic() > until:
            raise StartError(f"not in time: {what}")
        time.sleep(0.005)


SCENARIOS: Final[Mapping[str, Callable[[Path, Size], dict[str, float]]]] = {
    "spool_2k": _spool_2k,
    "restart_1g": _restart_1g,
    "drain": _drain,
}


if __name__ == "__main__":
    sys.exit(main())
