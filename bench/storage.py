"""Storage: how fast records of 2 KiB become durable, and how fast they are found among many.

    python -m bench.storage [--records 2000000] [--directory DIRECTORY] [--brief] [--out FILE]

A real storage process with the embedded engine; four spools on as many streams of one sender beside it, on
the same two cores. `ingest_2k` counts acknowledged records, and the time from a batch's writing to its
acknowledgement. Then the archive is filled to a tenth of the records and to all of them, and asked at both
sizes (`…_tenth`) through the API: one record by its call id, pages of fifty by several filters, a day's
statistics by model and hour, a text in an hour of it. `ingest_while_deleting`: of the tenth a fifth is
deleted on request, for which files are written anew, while 1,000 records a second come in. Writes
bench/results/storage.json.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bench.bars import Bar, stands
from bench.processes import await_ports, cpu_us, free_port, memory_mib, started
from bench.results import Results, Row, Run, medians, this_machine, write
from bench.storage_senders import BATCH_ENTRIES, DAY_NS, MODELS, USERS, Sent, Spool, send
from infertap import Client, v1
from infertap.admin import AdminClient
from infertap.connection import Connection

_OUT: Final = Path("bench/results/storage.json")
_BRIEF_OUT: Final = Path("build/bench/storage.json")
_SYSTEM: Final = "duckdb"
_SPOOLS: Final = 4
_RECORDS: Final = 2_000_000
_BRIEF_RECORDS: Final = 40_960
# Encoded ahead of each stretch of sending: memory, beside what a stretch lasts.
_STRETCH: Final = 204_800
_ASKED: Final = 100
_HOUR_NS: Final = DAY_NS // 24
_LIVE_PER_SECOND: Final = 1000
BARS: Final = (
    Bar("ingest_2k", "records_per_second", "at least", 12_000.0),
    Bar("ingest_2k", "max_ms", "at most", 1000.0),
    Bar("ingest_while_deleting", "max_ms", "at most", 1000.0),
    Bar("get", "p99_ms", "at most", 50.0),
    Bar("page", "p99_ms", "at most", 50.0),
    Bar("stats", "p99_ms", "at most", 300.0),
)


def main() -> int:
    """Measure; returns 0 where every bar is reached, or in a brief run whatever was measured."""
    asked = _parse()
    records = _BRIEF_RECORDS if asked.brief else asked.records
    out = asked.out or (_BRIEF_OUT if asked.brief else _OUT)
    with tempfile.TemporaryDirectory(prefix="infertap-bench-", dir=asked.directory) as directory:
        rows = _measure(Path(directory), records)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    runs = {row.scenario: Run(now, 0, 1) for row in rows}
    results = Results(this_machine(), now, {}, runs, (), tuple(rows))
    write(out, results)
    lines = verdicts(results)
    print("\n".join([*table(results), *lines, f"written to {out}"]))
    return int(not asked.brief and any(line.endswith("short") for line in lines))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.storage")
    parser.add_argument("--records", type=int, default=_RECORDS, help="in the archive at the end")
    parser.add_argument("--directory", type=Path, help="where the archive is (default: the temporary one)")
    parser.add_argument("--brief", action="store_true", help="whether it works, not how fast")
    parser.add_argument(
        "--out", type=Path, help=f"the file of figures (default: {_OUT}; brief: {_BRIEF_OUT})"
    )
    return parser.parse_args()


def verdicts(results: Results) -> list[str]:
    """A line for each bar."""
    return stands(BARS, results, _SYSTEM)


def table(results: Results) -> list[str]:
    """All figures, a line each."""
    return [f"{row.scenario:16} {row.metric:20} {row.value:12,.1f} {row.unit}" for row in results.rows]


# -- one measurement


def _measure(directory: Path, records: int) -> list[Row]:
    first_ns = (time.time_ns() // DAY_NS - 1) * DAY_NS
    spools = [Spool(number, first_ns, DAY_NS * _SPOOLS // records) for number in range(_SPOOLS)]
    doomed, live = Spool(_SPOOLS, first_ns - DAY_NS, 1), Spool(_SPOOLS + 1, first_ns, 1)
    rows: list[Row] = []
    with storage_running(directory, str(directory / "archive")) as (pid, address):
        sent = fill(address, [*spools, doomed], min(_STRETCH, records // 10))
        small = asked_figures(address, spools, first_ns, sent)
        deleting, deleted = _deleting(address, live, first_ns)
        rows += [
            row for name, figures in small.items() for row in medians(f"{name}_tenth", _SYSTEM, [figures])
        ]
        before = cpu_us([pid])
        more = fill(address, spools, records - sum(each.records for each in sent))
        used_us = (cpu_us([pid]) - before) / sum(each.records for each in more)
        sent += more
        large = asked_figures(address, spools, first_ns, sent)
        ingest = {**ingest_figures(sent), "rss_mib": memory_mib([pid], "VmHWM"), "cpu_us_per_record": used_us}
        ingest["bytes_per_record"] = _bytes_in(directory) / (sum(each.records for each in sent) - deleted)
    for name, figures in {"ingest_2k": ingest, "ingest_while_deleting": deleting, **large}.items():
        rows += medians(name, _SYSTEM, [figures])
    return rows


@contextmanager
def storage_running(directory: Path, archive: str) -> Iterator[tuple[int, str]]:
    """A storage over `archive`, its log in `directory`: its process id and its address."""
    port, web_port = free_port(), free_port()
    environ = {
        **os.environ,
        "INFERTAP_ARCHIVE": archive,
        "INFERTAP_STORAGE_LISTEN": f"127.0.0.1:{port}",
        "INFERTAP_WEB_LISTEN": f"127.0.0.1:{web_port}",
    }
    log = directory / "storage.log"
    with started([sys.executable, "-m", "storage"], _all_cores(), log, environ) as process:
        await_ports(process, log, (port, web_port))
        yield process.pid, f"127.0.0.1:{port}"


def _all_cores() -> str:
    return ",".join(map(str, sorted(os.sched_getaffinity(0))))


def fill(address: str, spools: Sequence[Spool], records: int, most: int = _STRETCH) -> list[Sent]:
    """Bring in so many more, in stretches of `most`: each is encoded first, then sent as fast as storage
    takes it.
    """
    sent = []
    round_of_batches = BATCH_ENTRIES * len(spools)
    while records >= round_of_batches:
        stretch = min(records, most)
        ready = [(spool, list(spool.batches(stretch // round_of_batches))) for spool in spools]
        sent.append(asyncio.run(send(address, ready)))
        records -= sent[-1].records
        print(f"{sent[-1].records:,} records, {sent[-1].per_second:,.0f}/s", file=sys.stderr, flush=True)
    return sent


def ingest_figures(sent: Sequence[Sent]) -> dict[str, float]:
    """How fast what was sent became durable."""
    acks = sorted(each for stretch in sent for each in stretch.ack_seconds)
    return {
        "records_per_second": sum(each.records for each in sent) / sum(each.seconds for each in sent),
        **_quantiles(acks),
    }


def _deleting(address: str, live: Spool, before_ns: int) -> tuple[dict[str, float], int]:
    """How long it takes to delete all before that time, and acknowledgements meanwhile; how many went."""
    acks: list[float] = []
    asked = v1.RecordFilter()
    asked.end_time.FromNanoseconds(before_ns)

    def delete() -> int:
        with AdminClient(Connection(address)) as admin:
            return admin.delete(asked).records

    began = time.monotonic()
    with ThreadPoolExecutor(1) as deleter:
        deleting = deleter.submit(delete)
        while not acks or not deleting.done():
            acks += asyncio.run(send(address, [(live, list(live.batches(1)))])).ack_seconds
            time.sleep(BATCH_ENTRIES / _LIVE_PER_SECOND)
    return {"seconds": time.monotonic() - began, **_quantiles(acks)}, deleting.result()


def _quantiles(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50_ms": 1000 * ordered[len(ordered) // 2],
        "p99_ms": 1000 * ordered[min(len(ordered) * 99 // 100, len(ordered) - 1)],
        "max_ms": 1000 * ordered[-1],
    }


def asked_figures(
    address: str, spools: Sequence[Spool], first_ns: int, sent: Sequence[Sent]
) -> Mapping[str, Mapping[str, float]]:
    """How long each kind of question takes, with what is there."""
    rng = random.Random(len(sent))
    known = [each for spool in spools for each in spool.known]
    with Client(address) as client:
        asks: dict[str, Callable[[], object]] = {
            "get": lambda: client.get(rng.choice(known)),
            "page": lambda: _page(client, rng, first_ns),
            "stats": lambda: _stats(client, first_ns),
            "text": lambda: _text(client, rng, first_ns),
        }
        return {name: _quantiles([_timed(ask) for _ in range(_ASKED)]) for name, ask in asks.items()}


def _timed(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def _page(client: Client, rng: random.Random, first_ns: int) -> None:
    """A page of fifty by one of the filters that people use."""
    start = first_ns + rng.randrange(20) * _HOUR_NS
    filters = (
        {"model": rng.choice(MODELS), "states": ["FAILED"]},
        {"user": f"hmac:k1:{rng.randrange(USERS):032x}"},
        {"start_time": _time(start), "end_time": _time(start + _HOUR_NS), "model_version": "2"},
        {"http_statuses": [503], "cohort": "a"},
    )
    list(client.list(limit=50, **rng.choice(filters)))


def _stats(client: Client, first_ns: int) -> None:
    client.stats(
        by=["model", "time"],
        bucket=timedelta(hours=1),
        start_time=_time(first_ns),
        end_time=_time(first_ns + DAY_NS),
    )


def _text(client: Client, rng: random.Random, first_ns: int) -> None:
    """A word that no record has, within an hour: all of it is read, or the deadline comes."""
    start = first_ns + rng.randrange(20) * _HOUR_NS
    list(client.list(limit=50, text="zebra", start_time=_time(start), end_time=_time(start + _HOUR_NS)))


def _time(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns / 1e9, UTC)


def _bytes_in(directory: Path) -> int:
    return sum(each.stat().st_size for each in directory.rglob("*") if each.is_file())


if __name__ == "__main__":
    sys.exit(main())
