"""Observing: what a measurement costs a system, what becomes of its calls. Reads /proc and the account."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from bench.load import Figures
from bench.processes import cpu_us, forget_peaks, memory_mib, with_descendants
from bench.systems import System

_SAMPLE_SECONDS: Final = 0.2
Account = Mapping[str, Mapping[str, int]]


class Observation:
    """What is known of a system before a load; `figures` tells what has changed since."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._account = system.account()
        forget_peaks(system.pids)
        self._cpu_us = cpu_us(system.pids)
        self._relay_cpu_us = self._of_relay()

    def figures(self, calls: float | None) -> Figures:
        """CPU by call where calls are counted, peak memory, and the shares of calls stored and shed."""
        found: Figures = {}
        if self._system.pids:
            found["rss_mib"] = memory_mib(self._system.pids, "VmHWM")
            if calls:
                found["cpu_us_per_request"] = (cpu_us(self._system.pids) - self._cpu_us) / calls
        if self._system.relay and calls:
            found["relay_cpu_us_per_request"] = (self._of_relay() - self._relay_cpu_us) / calls
        return found | shares(self._account, self._system.account())

    def _of_relay(self) -> float:
        return cpu_us([self._system.relay]) if self._system.relay else 0.0


def shares(before: Account, after: Account) -> Figures:
    """Of the calls seen between two accounts: the share that was stored, and the share that was shed."""
    if not after:
        return {}

    def more(line: str, *terms: str) -> int:
        return sum(after[line][term] - before[line][term] for term in terms)

    seen = more("calls", "seen")
    if not seen:
        return {}
    shed = [term for term in after["calls"] if term.startswith("shed_")]
    return {
        "stored_share": more("hand_over", "appended") / seen,
        "shed_share": more("calls", *shed) / seen,
    }


def proportional_mib(pids: Sequence[int]) -> float:
    """Memory with shared pages divided among those that share them (proc(5), smaps_rollup)."""
    total = 0
    for pid in with_descendants(pids):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


@contextmanager
def sampled(pids: Sequence[int]) -> Iterator[list[float]]:
    """Memory that is the processes' own (RssAnon), in MiB, five times a second while the context lasts.

    Mapped files are not in it: their pages are the kernel's to take back.
    """
    samples: list[float] = []
    over = threading.Event()

    def sample() -> None:
        while not over.wait(_SAMPLE_SECONDS):
            samples.append(memory_mib(pids, "RssAnon"))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def growth(samples: Sequence[float]) -> dict[str, Any]:
    """The most, and by how much the second half's most is above the first half's."""
    half = len(samples) // 2
    if not half:
        return {}
    most = max(samples)
    return {"anon_mib": most, "anon_growth_mib": max(samples[half:]) - max(samples[:half])}
