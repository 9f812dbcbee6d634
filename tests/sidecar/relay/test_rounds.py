"""Once a second: taps are told the time, slow heads and heavy taps are given up, and the lag is measured."""

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from sidecar.relay import rounds
from sidecar.relay.connection import HEAD_NS
from sidecar.relay.rounds import Rounds
from sidecar.tap import Refused

if TYPE_CHECKING:
    from tests.sidecar.relay.conftest import Bench, ScriptedTap


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "ROUND_SECONDS", 0.02)


def start(bench: "Bench", budget: int = 1 << 30) -> list[int]:
    """Rounds over the bench's connections; the list grows by one with each."""
    made: list[int] = []
    Rounds(bench.traffic, budget, lambda: made.append(len(bench.traffic.connections))).start()
    return made


async def test_every_tap_is_told_the_time(bench: "Bench", monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connection's tap is called in each round, however many turns of the loop a round takes."""
    monkeypatch.setattr(rounds, "TURN", 2)
    made = start(bench)
    for _ in range(5):
        await bench.joined()
    await bench.until(lambda: all(tap.told.count("tick") >= 2 for tap in bench.taps))
    assert len(bench.taps) == 5
    assert made[-1] == 5


async def test_round_is_spread_over_turns(bench: "Bench", monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two turns of a round the loop does other work."""
    monkeypatch.setattr(rounds, "TURN", 1)
    for _ in range(4):
        await bench.joined()
    order: list[str] = []
    loop = asyncio.get_running_loop()

    def tick(now: int) -> None:
        order.append("tick")
        loop.call_soon(order.append, "other")

    await bench.until(lambda: len(bench.taps) == 4)
    for tap in bench.taps:
        tap.tick = tick  # type: ignore[method-assign]
    start(bench)
    await bench.until(lambda: order.count("tick") >= 4)
    assert "tick tick" not in " ".join(order[:8])


async def test_head_that_comes_too_slowly_is_given_up(bench: "Bench") -> None:
    """What a tap has held for too long goes on, both ways; it is counted, and the connection lives."""

    def prepare(tap: "ScriptedTap") -> None:
        tap.hold_on = b"<"

    bench.prepare = prepare
    client, model = await bench.joined()
    await client.send(b"GET <")
    await model.send(b"HTTP/1.1 <")
    assert await model.receive(4) == b"GET "
    assert await client.receive(9) == b"HTTP/1.1 "
    bench.taps[0].held_since = time.monotonic_ns() - HEAD_NS
    start(bench)
    assert await model.receive(1) == b"<"
    assert await client.receive(1) == b"<"
    assert bench.row["head_too_slow"] == 1
    assert "give up: head_too_slow" in bench.taps[0].told
    await client.send(b"more")
    assert await model.receive(4) == b"more"


async def test_what_a_stopped_tap_still_holds_goes_on(bench: "Bench") -> None:
    """It is no slow head: it goes on at the next round, and nothing is counted."""

    def prepare(tap: "ScriptedTap") -> None:
        tap.hold_on = b"<"

    bench.prepare = prepare
    client, model = await bench.joined()
    await client.send(b"GET <")
    assert await model.receive(4) == b"GET "
    bench.taps[0].held_since = 0
    start(bench)
    assert await model.receive(1) == b"<"
    assert bench.row["head_too_slow"] == 0


async def test_head_that_is_young_is_left(bench: "Bench") -> None:
    """A head in the making is nobody's fault."""
    await bench.joined()
    await bench.until(lambda: bool(bench.taps))
    bench.taps[0].held_since = time.monotonic_ns()
    made = start(bench)
    await bench.until(lambda: len(made) > 3)
    assert bench.row["head_too_slow"] == 0


async def test_slow_head_may_be_refused(bench: "Bench") -> None:
    """Where the settings refuse what can't be recorded, a slow head ends the connection with an answer."""

    def prepare(tap: "ScriptedTap") -> None:
        tap.refuse_on, tap.refusal = b"give up", Refused(answer=b"408")

    bench.prepare = prepare
    client, model = await bench.joined()
    await bench.until(lambda: bool(bench.taps))
    bench.taps[0].held_since = time.monotonic_ns() - HEAD_NS
    start(bench)
    assert await client.receive_all() == b"408"
    assert await model.receive_all() == b""
    assert bench.row["connections_refused"] == 1


async def test_heaviest_taps_are_given_up(bench: "Bench") -> None:
    """Where all taps weigh too much, as many of the heaviest are given up as it takes, and no more."""
    for _ in range(4):
        await bench.joined()
    await bench.until(lambda: len(bench.taps) == 4)
    for tap, weight in zip(bench.taps, (10_000, 90_000, 50_000, 100_000), strict=True):
        tap.weight = weight
    start(bench, budget=70_000)
    await bench.until(lambda: bench.row["state_budget_spent"] == 2)
    await bench.until(lambda: bench.row["state_bytes"] == 60_000)
    given_up = ["give up: state_budget_spent" in tap.told for tap in bench.taps]
    assert given_up == [False, True, False, True]


async def test_tick_that_raises_detaches(bench: "Bench") -> None:
    """A fault in a tick takes the tap out; what it held goes on, and so does the connection."""

    def prepare(tap: "ScriptedTap") -> None:
        tap.hold_on = b"<"

    bench.prepare = prepare
    client, model = await bench.joined()
    await client.send(b"one<")
    assert await model.receive(3) == b"one"
    bench.taps[0].fail_on = b"tick"
    start(bench)
    assert await model.receive(1) == b"<"
    await client.send(b"two")
    assert await model.receive(3) == b"two"
    assert (bench.row["tap_faults"], bench.taps[0].told) == (1, ["abandoned"])


async def test_lag_of_the_loop_is_measured(bench: "Bench") -> None:
    """A loop that is held up shows it: the latest lag, and the greatest."""
    made = start(bench)
    await bench.until(lambda: len(made) > 1)
    time.sleep(0.3)  # noqa: ASYNC251  (the fault that is to be seen)
    before = len(made)
    await bench.until(lambda: len(made) > before + 2)
    assert bench.row["loop_lag_max_ns"] > 200_000_000
    assert bench.row["loop_lag_ns"] < bench.row["loop_lag_max_ns"]
