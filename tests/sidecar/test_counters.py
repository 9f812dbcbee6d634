"""The counters page: rows of their own, shared by descriptor, surviving their writer."""

import os
import subprocess
import sys

import pytest

from sidecar.counters import RECORDER_COUNTERS, RELAY_COUNTERS, CounterPage


def test_rows_do_not_touch_each_other() -> None:
    """Writing every counter of one row leaves all others zero."""
    page = CounterPage.create(slots=3)
    for name in RELAY_COUNTERS:
        page.relay(1)[name] = -1
    assert set(page.relay(1).values().values()) == {-1}
    for row in (page.recorder(), page.relay(0), page.relay(2)):
        assert set(row.values().values()) == {0}
    os.close(page.descriptor)


def test_counts_survive_a_killed_writer() -> None:
    """What a process counted is there after it was killed, for its successor to count on."""
    page = CounterPage.create(slots=2)
    script = (
        "import os, signal\n"
        "from sidecar.counters import CounterPage\n"
        f"row = CounterPage({page.descriptor}, 2).relay(1)\n"
        "row.add('seen', 41)\n"
        "row.cells[row.index['seen']] += 1\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    child = subprocess.run([sys.executable, "-c", script], pass_fds=(page.descriptor,), check=False)
    assert child.returncode == -9
    assert page.relay(1)["seen"] == 42
    os.close(page.descriptor)


def test_a_page_of_another_size_is_refused() -> None:
    """Mapping more slots than the page was made with fails instead of reading beyond it."""
    page = CounterPage.create(slots=1)
    with pytest.raises(ValueError, match="mmap"):
        CounterPage(page.descriptor, 2)
    os.close(page.descriptor)


def test_names_are_unique() -> None:
    """A counter's name names one counter of its row."""
    for names in (RELAY_COUNTERS, RECORDER_COUNTERS):
        assert len(set(names)) == len(names)
