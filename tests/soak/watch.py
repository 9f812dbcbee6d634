"""What the soak looks at from outside: the sidecar's processes, and what its admin endpoint says."""

import asyncio
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.journeys.conftest import Sidecar

_LINE = re.compile(r"^(\w+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one time."""

    # Anonymous memory: pages of the spool's file are the kernel's to drop.
    anonymous_mib: float
    descriptors: int
    threads: int


def sample(pid: int) -> Sample:
    """The process `pid` now."""
    status = Path(f"/proc/{pid}/status").read_text()
    facts = dict(re.findall(r"^(\w+):\s+(\d+)", status, re.MULTILINE))
    return Sample(int(facts["RssAnon"]) / 1024, len(os.listdir(f"/proc/{pid}/fd")), int(facts["Threads"]))


class Watch:
    """A running sidecar, seen from outside."""

    def __init__(self, sidecar: "Sidecar") -> None:
        self._sidecar = sidecar

    def pids(self) -> dict[str, int]:
        """Its processes by name."""
        named = {"parent": self._sidecar.process.pid}
        return named | {name: self._sidecar.pid(name) for name in ("relay 0", "recorder")}

    def samples(self) -> dict[str, Sample]:
        return {name: sample(pid) for name, pid in self.pids().items()}

    async def rest(self) -> dict[str, Sample]:
        """The least that each holds over a second: the admin endpoint's own connections come and go."""
        taken = []
        for _ in range(10):
            await asyncio.sleep(0.1)
            taken.append(self.samples())
        return {
            name: Sample(
                min(each[name].anonymous_mib for each in taken),
                min(each[name].descriptors for each in taken),
                min(each[name].threads for each in taken),
            )
            for name in taken[0]
        }

    async def account(self) -> dict[str, Any]:
        return dict(json.loads((await asyncio.to_thread(self._sidecar.get, "/account"))[1]))

    async def metric(self, name: str) -> float:
        """The sum over all rows of a metric."""
        text = (await asyncio.to_thread(self._sidecar.get, "/metrics"))[1]
        found = [float(value) for each, value in _LINE.findall(text) if each == name]
        assert found, f"no metric {name}"
        return sum(found)

    async def settled(self, seconds: float = 60) -> dict[str, Any]:
        """The account once no connection is open and nothing is in transit, or the last one in that time."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            account = await self.account()
            is_quiet = account["calls"]["open"] == 0 and account["hand_over"]["in_transit"] == 0
            is_quiet = is_quiet and account["balanced"]
            if (is_quiet and await self.metric("infertap_relay_connections_open") == 0) or (
                asyncio.get_running_loop().time() > deadline
            ):
                return account
            await asyncio.sleep(0.2)
