"""`make soak`: a real sidecar under mixed and hostile clients, for minutes. Nothing may leak.

    python -m tests.soak [--seconds 600] [--clients 16] [--seed N]

Six rounds with a rest after each, in which everything settles; what the sidecar's processes hold in the last
rest is compared with the first two. Ends with 1 and the reasons where

- a process holds over 10 % and 6 MiB more anonymous memory, more descriptors, or over 4 more threads,
- a connection stays open, law 4 does not balance, or `seen` is not what the clients did,
- a tap failed, a process was restarted, a record was dropped, or a client heard what it should not.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.journeys.conftest import Sidecar, await_true, sidecar_environ
from tests.soak import http1_sessions, http2_sessions
from tests.soak.http1_sessions import Where
from tests.soak.ledger import Done
from tests.soak.model import Model
from tests.soak.watch import Sample, Watch

_ALL = http1_sessions.SESSIONS + http2_sessions.SESSIONS
SESSIONS = {session.__name__: session for session in _ALL}
PROGRESS_SECONDS = 5
SESSION_SECONDS = 60
ROUNDS, WARM_UP_ROUNDS = 6, 2
GROWTH_SHARE, GROWTH_MIB = 0.10, 6.0
REST_SECONDS = 30
# Pools of threads grow to their size when they are first busy.
MORE_THREADS = 4
MUST_BE_ZERO = (
    "infertap_relay_connections_open",
    "infertap_relay_tap_faults_total",
    "infertap_relay_upstream_refused_total",
)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--seconds", type=float, default=600, help="all rounds together (600)")
    parser.add_argument("--clients", type=int, default=16, help="at a time (16)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of the clients' choices")
    parser.add_argument("--only", nargs="+", choices=sorted(SESSIONS), help="kinds of sessions")
    chosen = parser.parse_args()
    print(f"soak: {chosen.seconds:g} s, {chosen.clients} clients, seed {chosen.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="infertap-soak-") as directory:
        reasons = asyncio.run(_soak(chosen, Path(directory)))
    for reason in reasons:
        print(f"FAILED: {reason}")
    print("soak: " + (f"{len(reasons)} reasons to fail" if reasons else "all is as it was before"))
    return 1 if reasons else 0


async def _soak(chosen: argparse.Namespace, directory: Path) -> list[str]:
    model = Model()
    await model.start()
    routes = f"127.0.0.1:0={model.http_address},127.0.0.1:0={model.grpc_address}"
    environ = sidecar_environ("off", directory / "spool", routes=routes)
    sidecar = await asyncio.to_thread(Sidecar, environ, directory / "sidecar.log")
    try:
        await asyncio.to_thread(await_true, sidecar.is_ready, "sidecar is ready")
        ports = [int(address.rpartition(":")[2]) for address in sidecar.listen]
        where = Where("127.0.0.1", *ports, model, Done(), random.Random(chosen.seed))
        return await _run(chosen, where, Watch(sidecar))
    finally:
        await asyncio.to_thread(sidecar.end)
        await model.stop()


async def _run(chosen: argparse.Namespace, where: Where, watch: Watch) -> list[str]:
    pids = watch.pids()
    rests: list[dict[str, Sample]] = []
    account: dict[str, Any] = {}
    for number in range(ROUNDS):
        await _traffic(chosen.seconds / ROUNDS, chosen, where, watch)
        account = await watch.settled()
        rests.append(await watch.rest())
        _show(f"at rest after round {number + 1} of {ROUNDS}", rests[-1], where.done)
    for _ in range(REST_SECONDS):  # freed memory goes back to the system after some quiet seconds
        if not _leaks(rests):
            break
        rests[-1] = await watch.rest()
        _show("still at rest", rests[-1], where.done)
    print(f"sessions: {dict(sorted(where.done.sessions.items()))}")
    print(f"account: {account}")
    reasons = [*where.done.failures, *_leaks(rests), *_imbalances(account, where.done)]
    if watch.pids() != pids:
        reasons.append("a process was restarted")
    for name in MUST_BE_ZERO:
        if value := await watch.metric(name):
            reasons.append(f"{name} is {value:g}")
    return reasons


# -- traffic


async def _traffic(seconds: float, chosen: argparse.Namespace, where: Where, watch: Watch) -> None:
    """Sessions one after the other for each client, until the time is over and all have ended."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    sessions = [SESSIONS[name] for name in chosen.only] if chosen.only else _ALL
    showing = asyncio.create_task(_progress(where, watch))

    async def client() -> None:
        while loop.time() < deadline and len(where.done.failures) < 10:
            session = where.random.choice(sessions)
            try:
                await asyncio.wait_for(session(where), SESSION_SECONDS)
            except Exception as fault:
                where.done.failures.append(f"{session.__name__}: {type(fault).__name__}: {fault}")
            where.done.sessions[session.__name__] += 1

    await asyncio.gather(*(client() for _ in range(chosen.clients)))
    showing.cancel()


async def _progress(where: Where, watch: Watch) -> None:
    while True:
        await asyncio.sleep(PROGRESS_SECONDS)
        _show("", watch.samples(), where.done)


_began = time.monotonic()


def _show(what: str, samples: dict[str, Sample], done: Done) -> None:
    held = ", ".join(
        f"{name} {each.anonymous_mib:.1f} MiB {each.descriptors} fds" for name, each in samples.items()
    )
    print(
        f"{time.monotonic() - _began:6.1f} s  {done.calls} calls, {sum(done.sessions.values())} sessions,"
        f" {len(done.failures)} failures; {held}  {what}",
        flush=True,
    )


# -- what came of it


def _leaks(rests: list[dict[str, Sample]]) -> list[str]:
    reasons = []
    for name, now in rests[-1].items():
        was = [rest[name] for rest in rests[:WARM_UP_ROUNDS]]
        memory = max(each.anonymous_mib for each in was)
        if now.anonymous_mib > memory * (1 + GROWTH_SHARE) + GROWTH_MIB:
            reasons.append(f"{name} grew from {memory:.1f} to {now.anonymous_mib:.1f} MiB")
        if now.descriptors > was[0].descriptors:
            reasons.append(f"{name} had {was[0].descriptors} descriptors and has {now.descriptors}")
        if now.threads > was[0].threads + MORE_THREADS:
            reasons.append(f"{name} had {was[0].threads} threads and has {now.threads}")
    return reasons


def _imbalances(account: dict[str, Any], done: Done) -> list[str]:
    reasons = []
    seen = account["calls"]["seen"]
    if seen != done.calls:
        reasons.append(f"seen are {seen} calls, the clients made {done.calls}")
    if not account["balanced"] or account["calls"]["open"] or account["hand_over"]["in_transit"]:
        reasons.append("the account does not balance at rest")
    if account["calls"]["shed_tap_fault"]:
        reasons.append("calls were shed for a fault of the tap")
    for name, count in account["hand_over"].items():
        if count and name.startswith(("dropped_", "lost_")):
            reasons.append(f"{name} is {count}")
    return reasons


if __name__ == "__main__":
    sys.exit(main())
