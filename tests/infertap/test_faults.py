"""Exceptions that nobody catches are told without their text."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SECRET = "kanarie@example.org"
SCRIPT = """
import asyncio, gc, json, logging, sys, threading
from infertap.faults import tell_without_text

def tell(event, **facts):
    print(json.dumps({"event": event, **facts}), file=sys.stderr, flush=True)

tell_without_text(tell)

def fail(text):
    raise ValueError(text)

secret = sys.argv[1]
WAYS = {}
def way(work):
    WAYS[work.__name__] = work
    return work

@way
def process():
    fail(secret)

@way
def thread():
    threading.Thread(target=fail, args=(secret,)).start()

@way
def unraisable():
    class Ends:
        def __del__(self):
            fail(secret)
    Ends()

@way
def forgotten_task():
    async def work():
        async def inner():
            fail(secret)
        asyncio.create_task(inner())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    asyncio.run(work())
    gc.collect()

@way
def callback():
    async def work():
        asyncio.get_running_loop().call_soon(fail, secret)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    asyncio.run(work())

@way
def callback_of_uvloop():
    import uvloop
    async def work():
        asyncio.get_running_loop().call_soon(fail, secret)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    uvloop.run(work())

@way
def logged():
    try:
        fail(secret)
    except ValueError as error:
        logging.getLogger("some.library").exception("of %s: %s", secret, error)

@way
def logged_at_import():
    logging.basicConfig()
    logged()

WAYS[sys.argv[2]]()
"""
WAYS = [
    *("process", "thread", "unraisable", "forgotten_task", "callback", "callback_of_uvloop", "logged"),
    "logged_at_import",
]


@pytest.mark.parametrize("way", WAYS)
def test_type_and_place_are_told_and_the_text_is_not(way: str) -> None:
    """However it comes out, type and place are in one event, and its message is nowhere."""
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, SECRET, way], capture_output=True, text=True, timeout=30, check=False
    )
    assert SECRET not in ended.stdout + ended.stderr
    (event,) = map(json.loads, ended.stderr.splitlines())
    assert event["fault"] == "ValueError"
    assert event["at"].endswith(" fail")


@pytest.mark.parametrize("child", ["sidecar.relay", "sidecar.recorder"])
def test_a_child_that_breaks_shows_no_traceback(child: str, tmp_path: Path) -> None:
    """A child whose counters page is none breaks at its start, and says so in one line of its log."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, (tmp_path / "empty").open("w+b") as page:
        numbers = f"{theirs.fileno()}"
        arguments = ["--slots", "1", "--run-id", "00" * 16, "--counters-fd", str(page.fileno())]
        arguments += ["--lifeline-fd", numbers]
        if child == "sidecar.relay":
            arguments += ["--slot", "0", "--handoff-fd", numbers, "--listen-fds", numbers]
        else:
            arguments += ["--handoff-fds", numbers]
        ended = subprocess.run(
            [sys.executable, "-m", child, *arguments],
            env=os.environ | {"INFERTAP_SPOOL_DIR": str(tmp_path / "spool")},
            pass_fds=(theirs.fileno(), page.fileno()),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    faults = [json.loads(line) for line in ended.stderr.splitlines()]
    assert faults[-1]["event"] == "fault"
    assert faults[-1]["fault"] == "ValueError"
    assert "counters.py" in faults[-1]["at"]


@pytest.mark.parametrize("module", ["sidecar", "storage"])
def test_parent_and_storage_show_no_traceback(module: str, tmp_path: Path) -> None:
    """What breaks in them is told without its text; here a setting's reader, with the setting's value."""
    broken = "import infertap.settings as s, runpy, sys; sys.argv[1:] = []\n"
    broken += f"def read(*_): raise RuntimeError({SECRET!r})\n"
    broken += f"s.read_settings = s.read = read\nimport {module}.config as c; c.read = read\n"
    broken += f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
    ended = subprocess.run(
        [sys.executable, "-c", broken],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert SECRET not in ended.stderr
    assert json.loads(ended.stderr.splitlines()[-1])["fault"] == "RuntimeError"
