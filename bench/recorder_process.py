"""Recorder process: the real one, as a sidecar's parent starts it, and a relay's end of the hand-off."""

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from bench.recorder import SCENARIOS
from sidecar.counters import CounterPage
from sidecar.handoff import pack_exchange
from sidecar.handoff.wire import batch_packet

_VARIETY = 256
_TICK_SECONDS = 0.02
_END_SECONDS = 30.0


class RecorderProcess:
    """`python -m sidecar.recorder` over a spool. A context manager: SIGTERM at its end."""

    def __init__(self, spool: Path, quota_bytes: int, storage: str | None) -> None:
        """Starts at once; `storage` is HOST:PORT."""
        self._relay_end, recorder_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._page = CounterPage.create(1)
        # Its counters.
        self.row = self._page.recorder()
        self._relay_row = self._page.relay(0)
        lifeline, self._lifeline = os.pipe()
        descriptors = (self._page.descriptor, recorder_end.fileno(), lifeline)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("INFERTAP_")}
        environ |= {
            "INFERTAP_SPOOL_DIR": str(spool),
            "INFERTAP_SPOOL_BYTES": str(quota_bytes),
            "INFERTAP_API_LISTEN": "127.0.0.1:0",
            "INFERTAP_UPSTREAM": "127.0.0.1:1",
        }
        if storage is not None:
            environ["INFERTAP_STORAGE"] = storage
        command = [sys.executable, "-m", "sidecar.recorder", "--slots", "1", "--run-id", os.urandom(16).hex()]
        command += ["--counters-fd", str(descriptors[0]), "--handoff-fds", str(descriptors[1])]
        self._process = subprocess.Popen(
            [*command, "--lifeline-fd", str(descriptors[2])],
            env=environ,
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        recorder_end.close()
        os.close(lifeline)
        rng = random.Random(1)
        self._calls = [SCENARIOS[0].make(rng) for _ in range(_VARIETY)]
        self._number = 0

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(_END_SECONDS)
        self._relay_end.close()
        os.close(self._lifeline)

    def send(self, count: int) -> None:
        """Hand over so many calls of 2 KiB; waits where the recorder does not take them."""
        first, packed = self._number + 1, []
        for _ in range(count):
            self._number += 1
            call = self._calls[self._number % _VARIETY]
            call.call_number, call.started_wall_ns = self._number, time.time_ns()
            packed.append(pack_exchange(call))
        self._relay_row["seen"] = self._relay_row["handed_over"] = self._number
        self._relay_end.send(batch_packet(first, packed))

    @contextlib.contextmanager
    def fed(self, per_second: int) -> Iterator[None]:
        """So many calls a second meanwhile."""
        ending = threading.Event()
        each = max(int(per_second * _TICK_SECONDS), 1)

        def feed() -> None:
            due = time.monotonic()
            while not ending.wait(max(due - time.monotonic(), 0.0)):
                self.send(each)
                due += each / per_second

        feeding = threading.Thread(target=feed)
        feeding.start()
        try:
            yield
        finally:
            ending.set()
            feeding.join()
