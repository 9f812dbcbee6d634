"""Measuring: what all loads share: how figures are given, percentiles, and the load core."""

import asyncio
import subprocess
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import uvloop

# Load, upstream and recorder; what is under test has the other one.
LOAD_CORE: Final = 1
# By metric; `calls` is how many there were, for what is counted by call.
Figures = dict[str, float]


class LoadError(Exception):
    """The load could not be put on as meant."""


def percentile(ascending: Sequence[float], share: float) -> float:
    """The value that `share` per cent are not above; 0 of none."""
    if not ascending:
        return 0.0
    return float(ascending[min(int(len(ascending) * share / 100), len(ascending) - 1)])


def latencies(times_us: Sequence[float]) -> Figures:
    """p50, p90 and p99 of the times of calls, in any order."""
    ascending = sorted(times_us)
    return {f"p{share}_us": percentile(ascending, share) for share in (50, 90, 99)}


def run(work: Coroutine[Any, Any, Figures], limit_seconds: float) -> Figures:
    """Run a load of our own to its end; LoadError where it takes longer than it may."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(asyncio.wait_for(work, limit_seconds))
        except TimeoutError:
            raise LoadError(f"not over after {limit_seconds:.0f} s") from None


def said_by(command: list[str], seconds: float) -> str:
    """The output of a load generator on the load core; LoadError where it fails."""
    pinned = ["taskset", "-c", str(LOAD_CORE), *command]
    try:
        done = subprocess.run(pinned, capture_output=True, text=True, timeout=seconds + 60, check=False)
    except subprocess.TimeoutExpired:
        raise LoadError(f"{command[0]} hangs") from None
    if done.returncode:
        raise LoadError((done.stderr or done.stdout).strip()[-300:])
    return done.stdout


def whole_seconds(seconds: float) -> int:
    """What tools that know whole seconds only are told."""
    return max(round(seconds), 1)
