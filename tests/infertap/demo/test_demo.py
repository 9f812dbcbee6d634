"""The demo runs the main job for real, shows it, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infertap.demo import run_demo, story
from infertap.demo.processes import DemoError

SECONDS = 110
DEMO = [sys.executable, "-m", "infertap.cli", "demo"]


def processes_in(directory: Path) -> list[int]:
    """Processes whose working directory it is."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                if each.joinpath("cwd").resolve() == directory:
                    found.append(int(each.name))
            except OSError:
                continue
    return found


def test_once(tmp_path: Path) -> None:
    """It makes its calls, fetches the records over gRPC, shows them, and ends by itself with status 0.

    A proxy that the environment names makes no difference.
    """
    environ = os.environ | {"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
    done = subprocess.run(
        [*DEMO, "--once"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for told in (
        "first byte",  # the table's head
        "gRPC 3",
        "cancelled",
        "<email>",
        "seen = 11 handed_over",
    ):
        assert told in done.stdout, told
    assert "records tail" not in done.stdout, "nothing is left that would answer"
    assert processes_in(tmp_path) == []
    events = [json.loads(line) for line in (tmp_path / ".demo" / "sidecar.log").read_text().splitlines()]
    assert not [event for event in events if "fault" in event["event"]]


def test_ctrl_c(tmp_path: Path) -> None:
    """Without `--once` it stays up until Ctrl-C, and then ends in order with all that it started."""
    with subprocess.Popen(
        DEMO,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        said = ""
        for line in demo.stdout:
            said += line
            if "Ctrl-C ends it" in line:
                break
        assert "records tail --address" in said
        assert len(processes_in(tmp_path)) > 3, said
        demo.send_signal(signal.SIGINT)
        assert demo.wait(SECONDS) == 0
    assert processes_in(tmp_path) == []


def test_killed(tmp_path: Path) -> None:
    """Killed, it leaves no process behind either: the kernel tells them."""
    with subprocess.Popen(
        DEMO, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "calling the model" in line:
                break
        assert len(processes_in(tmp_path)) > 3
        demo.kill()
    until = time.monotonic() + SECONDS
    while (left := processes_in(tmp_path)) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == []


def test_once_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever hangs, `--once` ends with the reason; without it nothing is cut short."""
    monkeypatch.setattr(story, "_ONCE_SECONDS", 1)
    with pytest.raises(DemoError, match="not done after 1 s"), story._in_time(once=True):
        signal.pause()
    with story._in_time(once=False):
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_without_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Installed without its source, it says what to do, and that before it asks for packages."""
    monkeypatch.setattr(story, "_MODEL_SERVER", tmp_path)
    monkeypatch.setattr(story, "_NEEDED", ("no_such_package",))
    assert run_demo(once=True) == 1
    assert "make demo" in capsys.readouterr().err
