"""The measure of the recorder: its calls, and a run for a moment."""

import json
import multiprocessing
import os
import random
from concurrent.futures import Executor

import pytest

from bench import recorder
from bench.beside import SCENARIO as BESIDE
from bench.beside import beside
from bench.recorder import SCENARIOS, Scenario, verdicts
from bench.results import Results, Row

NAMED = {scenario.name: scenario for scenario in SCENARIOS}


def test_calls() -> None:
    """One kind is 1 KiB of JSON each way, the other an answer in 200 deltas."""
    rng = random.Random(1)
    small = NAMED["json_1k"].make(rng)
    for body in (small.request, small.response):
        data = b"".join(body.captured_pieces)
        assert len(data) == body.size == 1024
        json.loads(data)
    stream = NAMED["openai_stream_200"].make(rng)
    assert sum(piece.count(b'"delta"') for piece in stream.response.captured_pieces) == 200


@pytest.mark.skipif(not {0, 1} <= os.sched_getaffinity(0), reason="it pins to cores 0 and 1")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_round(alone: Executor, scenario: Scenario) -> None:
    """A round counts records that a real pipeline has brought to its spool."""
    figures = alone.submit(recorder._round, scenario, 0.3, None).result()
    assert figures["records_per_second"] > 0
    assert figures["cpu_us_per_request"] > 0


@pytest.mark.skipif(not {0, 1} <= os.sched_getaffinity(0), reason="it pins to cores 0 and 1")
def test_beside(alone: Executor) -> None:
    """A pair of rounds measures relay and upstream beside an idle and a saturated recorder, and all ends."""
    before = alone.submit(os.sched_getaffinity, 0).result()
    found = alone.submit(beside, 1, 0.2, recorder._run_pipeline, recorder._send_streams).result()
    assert set(found) == {"direct", "infertap"}
    for (pair,) in found.values():
        assert pair["p99_ratio"] == pair["p99_us"] / pair["p99_idle_us"]
        assert pair["p50_us"] > 0
    assert alone.submit(os.sched_getaffinity, 0).result() == before
    assert alone.submit(os.sched_getscheduler, 0).result() == os.SCHED_OTHER
    assert not alone.submit(multiprocessing.active_children).result()


def test_verdicts() -> None:
    """A bar is reached, or not."""
    rows = [
        Row(name, "infertap", "records_per_second", value, "1/s", value, value)
        for name, value in (("json_1k", 5000.0), ("openai_stream_200", 499.0))
    ]
    rows += [Row(BESIDE, system, "p99_ratio", 1.2, "1", 1.2, 1.2) for system in ("infertap", "direct")]
    stands = [line.rpartition(": ")[2] for line in verdicts(Results(rows=tuple(rows)))]
    assert stands == ["reached", "short", "short"]
