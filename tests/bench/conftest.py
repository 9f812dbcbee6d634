"""What forks is measured in a process of its own."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context

import pytest


@pytest.fixture
def alone() -> Iterator[Executor]:
    """A fresh process with one thread, as a benchmark's own is: it forks, which the tests' process, with the
    threads of whatever ran in it before, must not (fork(2): locks that they hold stay held in the child).
    """
    with ProcessPoolExecutor(1, get_context("spawn"), os.setpgrp) as executor:
        group = executor.submit(os.getpid).result()
        try:
            yield executor
        finally:
            # It, and what it started, also where that hangs.
            os.killpg(group, signal.SIGKILL)
