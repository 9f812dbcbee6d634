"""The demo runs the main job for real, shows it, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

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
        "records tail --address",
    ):
        assert told in done.stdout, told
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
        assert len(processes_in(tmp_path)) > 3, said
        demo.send_signal(signal.SIGINT)
        assert demo.wait(SECONDS) == 0
    assert processes_in(tmp_path) == []
