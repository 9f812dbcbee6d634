"""Recorder: how many calls a second go from the hand-over into the durable spool, on one core.

    python -m bench.recorder [--seconds 5] [--rounds 3] [--brief] [--spool DIRECTORY] [--out FILE]

The recorder's own pipeline, all classes on, alone on core 0; a relay's packets come through the socket pair
from a process on core 1 that sends all the time. A record counts once its commit is on the disk. And how much
slower a relay on a core of its own answers beside a saturated recorder than beside an idle one: bench.beside.
Writes bench/results/recorder.json.
"""

import argparse
import json
import multiprocessing
import os
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from bench.beside import SCENARIO as BESIDE
from bench.beside import beside
from bench.results import Results, Row, Run, medians, this_machine, write
from sidecar import collecting, config
from sidecar.counters import CounterPage
from sidecar.exchange import EndedBy, Exchange, Protocol, Reason
from sidecar.handoff import pack_exchange
from sidecar.handoff.wire import BATCH_BYTES, batch_packet, part_packets
from sidecar.in_flight import InFlight
from sidecar.recorder.books import Books
from sidecar.recorder.conversion import Conversion
from sidecar.recorder.pipeline import Pipeline
from sidecar.spool import Spool

_OUT: Final = Path("bench/results/recorder.json")
_BRIEF_OUT: Final = Path("build/bench/recorder.json")
_RECORDER_CORE: Final = 0
_SENDER_CORE: Final = 1
# To be reached, and beyond that.
BARS: Final[Mapping[str, tuple[float, float]]] = {
    "json_1k": (5000, 10000),
    "openai_stream_200": (500, 1000),
}
# Each round of bench.beside; there are many of them.
_BESIDE_SECONDS: Final = 2.0
# p99 of a relay's calls beside a saturated recorder over that beside an idle one.
MOST_RATIO: Final = 1.1
_RUN_ID: Final = b"bench of recorder"[:16]
# Until the sender has its calls.
_PATIENCE_SECONDS: Final = 30.0
_SPOOL_BYTES: Final = 256 << 20
# Different calls, as a cache of texts would else see each of them again.
_VARIETY: Final = 256
_SAID: Final = """the model reads a question and writes what is likely to follow it one word after another
until it ends there are reasons to prefer a small one where time matters and a large one where it is the
answer that does"""
_WORDS: Final = tuple(_SAID.split())


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of call."""

    name: str
    make: Callable[[random.Random], Exchange]


def main() -> int:
    """Measure; returns 0 where every bar is reached, or in a brief run whatever was measured."""
    asked = _parse()
    seconds = asked.seconds or (0.5 if asked.brief else 5.0)
    rounds = asked.rounds or (1 if asked.brief else 3)
    out = asked.out or (_BRIEF_OUT if asked.brief else _OUT)
    rows: list[Row] = []
    for scenario in SCENARIOS:
        figures = [_round(scenario, seconds, asked.spool) for _ in range(rounds)]
        rows += medians(scenario.name, "infertap", figures)
    times = 1 if asked.brief else 2 * rounds + 1
    found = beside(times, min(seconds, _BESIDE_SECONDS), _run_pipeline, _send_streams)
    for system, pairs in found.items():
        rows += medians(BESIDE, system, pairs)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    runs = {name: Run(now, seconds, rounds) for name in (*(each.name for each in SCENARIOS), BESIDE)}
    results = Results(this_machine(), now, {}, runs, (), tuple(rows))
    write(out, results)
    print("\n".join([*verdicts(results), f"written to {out}"]))
    return int(not asked.brief and any(line.endswith("short") for line in verdicts(results)))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.recorder")
    parser.add_argument("--seconds", type=float, help="of each measurement (default: 5)")
    parser.add_argument("--rounds", type=int, help="of which the median counts (default: 3)")
    parser.add_argument("--spool", type=Path, help="where the spool is (default: the temporary directory)")
    parser.add_argument("--brief", action="store_true", help="whether it works, not how fast")
    parser.add_argument(
        "--out", type=Path, help=f"the file of figures (default: {_OUT}; brief: {_BRIEF_OUT})"
    )
    return parser.parse_args()


def verdicts(results: Results) -> list[str]:
    """A line for each bar."""
    lines = []
    for scenario, (bar, beyond) in BARS.items():
        value = results.value(scenario, "infertap", "records_per_second")
        if value is not None:
            stands = "beyond" if value >= beyond else "reached" if value >= bar else "short"
            lines.append(
                f"{scenario}: {value:,.0f} records/s (bar {bar:,.0f}, beyond {beyond:,.0f}): {stands}"
            )
    ratio = results.value(BESIDE, "infertap", "p99_ratio")
    if ratio is not None:
        stands = "reached" if ratio <= MOST_RATIO else "short"
        lines.append(
            f"{BESIDE}: p99 {ratio:.2f} x that beside an idle one (bar {MOST_RATIO}), "
            f"direct {results.value(BESIDE, 'direct', 'p99_ratio') or 0:.2f} x: {stands}"
        )
    return lines


# -- one measurement


def _round(scenario: Scenario, seconds: float, spool: Path | None) -> dict[str, float]:
    """In a process of its own: its core, and its memory, are nobody else's."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(scenario, seconds, spool, theirs))
    process.start()
    theirs.close()
    try:
        figures: dict[str, float] = ours.recv()
    finally:
        process.join()
    return figures


def _measure(scenario: Scenario, seconds: float, parent: Path | None, answer: Connection) -> None:
    """Be the recorder."""
    relay_end, recorder_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sender = multiprocessing.get_context("fork").Process(
        target=_send_from_other_core, args=(scenario, relay_end), daemon=True
    )
    sender.start()
    os.sched_setaffinity(0, {_RECORDER_CORE})
    with tempfile.TemporaryDirectory(prefix="infertap-bench-", dir=parent) as directory:
        spool = Spool.open(Path(directory), _SPOOL_BYTES, ring=True)
        pipeline = _pipeline([recorder_end], CounterPage.create(1), spool)
        collecting.settle()
        working = threading.Thread(target=pipeline.run)
        working.start()
        answer.send(_rates(spool, seconds))
        sender.kill()
        pipeline.stop()
        working.join()
        spool.close()


def _pipeline(ends: Sequence[socket.socket], page: CounterPage, spool: Spool) -> Pipeline:
    return Pipeline(
        ends,
        page,
        Conversion(config.read({}), None, _RUN_ID),
        spool,
        books=Books.open(_RUN_ID, len(ends), {}),
        in_flight=InFlight(),
        on_commit=lambda: None,
    )


def _run_pipeline(ends: Sequence[socket.socket], page: CounterPage, directory: Path) -> None:
    """Be the recorder beside a relay, until ended."""
    spool = Spool.open(directory, _SPOOL_BYTES, ring=True)
    pipeline = _pipeline(ends, page, spool)
    collecting.settle()
    working = threading.Thread(target=pipeline.run)
    working.start()
    working.join()


def _send_streams(sock: socket.socket) -> None:
    _send(SCENARIOS[1], sock)


def _rates(spool: Spool, seconds: float) -> dict[str, float]:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not spool.account().appended and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(min(seconds / 5, 1.0))  # caches fill
    began, before, cpu = time.monotonic(), spool.account().appended, time.process_time()
    time.sleep(seconds)
    # A machine that does other things brings none in a moment.
    while (records := spool.account().appended - before) == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    return {
        "records_per_second": records / (time.monotonic() - began),
        "cpu_us_per_request": 1e6 * (time.process_time() - cpu) / max(records, 1),
    }


def _send_from_other_core(scenario: Scenario, sock: socket.socket) -> None:
    os.sched_setaffinity(0, {_SENDER_CORE})
    _send(scenario, sock)


def _send(scenario: Scenario, sock: socket.socket) -> None:
    """Be a relay that has calls without end."""
    rng = random.Random(scenario.name)
    calls = [scenario.make(rng) for _ in range(_VARIETY)]
    waiting: list[bytes] = []
    number = first = size = 0
    while True:
        number += 1
        call = calls[number % _VARIETY]
        call.call_number = number
        call.started_wall_ns = time.time_ns()
        packed = pack_exchange(call)
        if waiting and size + len(packed) > BATCH_BYTES:
            sock.send(batch_packet(first, waiting))
            waiting, size = [], 0
        if len(packed) > BATCH_BYTES:
            for packet in part_packets(number, packed):
                sock.send(packet)
            continue
        if not waiting:
            first = number
        waiting.append(packed)
        size += len(packed)


# -- calls


def _call(request: bytes, answer: list[bytes], content_type: bytes) -> Exchange:
    call = Exchange(1, 0, Protocol.HTTP1, 10**12, 0, client_address="10.1.2.3:41234")
    call.request_completed, call.first_response_byte = 10**12 + 10**5, 10**12 + 10**7
    call.ended, call.ended_by, call.reason = 10**12 + 10**8, EndedBy.MODEL, Reason.RATE
    call.request_id = b"0b9f6a0e8d3c4f7c9a1e2d3c4b5a6978"
    call.method, call.target, call.status = b"POST", b"/v1/chat/completions", 200
    call.request_head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: model.example:8000\r\nAccept: application/json\r\n"
        b"User-Agent: OpenAI/Python 1.40.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
        b"Authorization: Bearer none\r\n\r\n" % len(request)
    )
    call.response_head = (
        b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: uvicorn\r\ncontent-type: "
        + content_type
        + b"\r\n\r\n"
    )
    for body, pieces in ((call.request, [request]), (call.response, answer)):
        body.captured_pieces = pieces
        body.captured = body.size = sum(map(len, pieces))
        body.piece_count = len(pieces)
        body.piece_times = [(10**12 + 10**7 + 10**5 * at, len(piece)) for at, piece in enumerate(pieces)]
    return call


def _text(rng: random.Random, size: int) -> str:
    words: list[str] = []
    while sum(map(len, words)) + len(words) < size:
        words.append(rng.choice(_WORDS))
    return " ".join(words)[:size].ljust(size, ".")


def _asked(rng: random.Random, size: int, *, stream: bool) -> bytes:
    empty = {
        "model": "m-7b",
        "temperature": 0.7,
        "stream": stream,
        "messages": [{"role": "user", "content": ""}],
    }
    empty["messages"][0]["content"] = _text(rng, size - len(json.dumps(empty)))  # type: ignore[index]
    return json.dumps(empty).encode()


def _json_1k(rng: random.Random) -> Exchange:
    """A chat completion, 1 KiB each way."""
    message = {"role": "assistant", "content": ""}
    answer = {
        "id": f"chatcmpl-{rng.getrandbits(96):024x}",
        "object": "chat.completion",
        "created": rng.randrange(1_760_000_000, 1_770_000_000),
        "model": "m-7b",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 180, "completion_tokens": 150, "total_tokens": 330},
    }
    message["content"] = _text(rng, 1024 - len(json.dumps(answer)))
    return _call(_asked(rng, 1024, stream=False), [json.dumps(answer).encode()], b"application/json")


def _openai_stream_200(rng: random.Random) -> Exchange:
    """A chat completion of 200 deltas, each an event and a piece."""
    head = {"id": f"chatcmpl-{rng.getrandbits(96):024x}", "object": "chat.completion.chunk", "model": "m-7b"}
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": f"{rng.choice(_WORDS)} "} for _ in range(198)]
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    events = [b"data: %s\n\n" % json.dumps({**head, "choices": [choice]}).encode() for choice in choices]
    return _call(_asked(rng, 1024, stream=True), [*events, b"data: [DONE]\n\n"], b"text/event-stream")


SCENARIOS: Final = (Scenario("json_1k", _json_1k), Scenario("openai_stream_200", _openai_stream_200))


if __name__ == "__main__":
    sys.exit(main())
