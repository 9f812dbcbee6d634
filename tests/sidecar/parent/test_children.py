"""Supervision of real child processes: started again, told to stop, killed where they do not listen."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from sidecar.parent.children import RESTART_SECONDS, RESTART_SECONDS_MAX, Child, restart_pause

LISTEN = "import signal, time\nsignal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})\n"
SLEEP = LISTEN + "print(flush=True)\ntime.sleep(600)"


def child(script: str, **options: object) -> Child:
    return Child("test", [sys.executable, "-c", script], (), **options)  # type: ignore[arg-type]


async def until(claim: "object", seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not claim():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_pauses_double_to_a_limit() -> None:
    """A child that keeps dying young is started after ever longer pauses; one that lived is started soon."""
    pauses = [restart_pause(0.0, 0.1)]
    for _ in range(10):
        pauses.append(restart_pause(pauses[-1], 0.1))
    assert pauses[:4] == [RESTART_SECONDS * factor for factor in (1, 2, 4, 8)]
    assert pauses[-1] == RESTART_SECONDS_MAX
    assert restart_pause(RESTART_SECONDS_MAX, 60.0) == RESTART_SECONDS


async def test_killed_child_is_started_again() -> None:
    """After a kill there is a new process, the restart is counted, and the death was told."""
    deaths: list[int] = []
    running = child(SLEEP, on_death=lambda: deaths.append(1))
    supervising = asyncio.create_task(running.supervise())
    await until(lambda: running.pid)
    first = running.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: running.pid not in (None, first))
    assert running.restarts == 1
    assert deaths == [1]
    await running.stop(20)
    await supervising
    assert running.pid is None
    assert running.restarts == 1


async def test_deaf_child_is_killed() -> None:
    """A child that ignores SIGTERM is killed once patience is over."""
    deaf = child("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEP)
    supervising = asyncio.create_task(deaf.supervise())
    await until(lambda: deaf.pid)
    await asyncio.sleep(0.3)  # until it ignores SIGTERM; too early only makes the test easier
    await deaf.stop(0.1)
    await supervising
    assert deaf.pid is None


async def test_child_that_is_loading_hears_it_later(tmp_path: Path) -> None:
    """A child told to stop before it knows what to do then is not killed by it, but does it afterwards."""
    report = tmp_path / "report"
    script = (
        "import signal, sys, time\n"
        "time.sleep(0.5)\n"
        f"def finish(*_):\n    open({str(report)!r}, 'w').write('finished')\n    sys.exit()\n"
        "signal.signal(signal.SIGTERM, finish)\n" + SLEEP
    )
    loading = child(script)
    supervising = asyncio.create_task(loading.supervise())
    await until(lambda: loading.pid)
    await loading.stop(20)
    await supervising
    assert report.read_text() == "finished"


async def test_parent_hears_signals_while_it_starts_children() -> None:
    """However many children are started at a time, the parent itself is left with no signal blocked."""
    children = [child(SLEEP) for _ in range(4)]
    supervising = [asyncio.create_task(each.supervise()) for each in children]
    await until(lambda: all(each.pid for each in children))
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    await asyncio.gather(*(each.stop(20) for each in children), *supervising)


async def test_stop_between_two_lives_ends_supervision() -> None:
    """A child told to stop while it is being restarted is not started again."""
    dying = child("raise SystemExit(3)")
    supervising = asyncio.create_task(dying.supervise())
    await until(lambda: dying.restarts >= 1)
    await dying.stop(20)
    async with asyncio.timeout(20):
        await supervising


async def test_command_that_does_not_exist_is_tried_again(capfd: pytest.CaptureFixture[str]) -> None:
    """A child that can't be started is an event, not the end of the parent."""
    missing = Child("test", ["/nonexistent/command"], ())
    supervising = asyncio.create_task(missing.supervise())
    await until(lambda: missing.restarts >= 1)
    await missing.stop(20)
    await supervising
    assert "child can't be started" in capfd.readouterr().err


async def test_descriptors_are_passed_by_number(tmp_path: Path) -> None:
    """The child can use the descriptors it is given, under the same numbers, and no others."""
    read_end, write_end = os.pipe()
    kept_back, other = os.pipe()
    script = (
        LISTEN + "import os\n"
        f"try:\n    os.fstat({kept_back})\n    found = b'leaked'\nexcept OSError:\n    found = b'closed'\n"
        f"os.write({write_end}, found)\ntime.sleep(600)"
    )
    given = Child("test", [sys.executable, "-c", script], (write_end,))
    supervising = asyncio.create_task(given.supervise())
    got = await asyncio.to_thread(os.read, read_end, 6)
    await given.stop(20)
    await supervising
    assert got == b"closed"
    for descriptor in (read_end, write_end, kept_back, other):
        os.close(descriptor)
