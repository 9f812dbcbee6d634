"""The event log: one JSON line each, and never a wait."""

import json
import os
import subprocess
import sys

import pytest

from sidecar.event_log import log_event


def test_event_is_one_json_line(capfd: pytest.CaptureFixture[str]) -> None:
    """An event becomes one line with time, process, event and facts."""
    log_event("relay", "went\nwell", slot=3, ok=True)
    (line,) = capfd.readouterr().err.splitlines()
    event = json.loads(line)
    assert event.pop("time").endswith("Z")
    assert event == {"process": "relay", "event": "went\nwell", "slot": 3, "ok": True}


def test_full_stderr_costs_lines_not_time() -> None:
    """Where nobody reads stderr, logging drops lines and the process goes on."""
    read_end, write_end = os.pipe()
    script = "from sidecar.event_log import log_event\nfor _ in range(5000): log_event('relay', 'x' * 100)"
    ended = subprocess.run([sys.executable, "-c", script], stderr=write_end, timeout=30, check=False)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        written = pipe.read()
    assert ended.returncode == 0
    assert 0 < len(written) <= 65_536
    assert written.endswith(b"}\n")


def test_closed_stderr_is_no_fault() -> None:
    """Without stderr, events go nowhere and nothing is raised."""
    script = "import os\nfrom sidecar.event_log import log_event\nos.close(2)\nlog_event('relay', 'x')"
    assert subprocess.run([sys.executable, "-c", script], timeout=30, check=False).returncode == 0
