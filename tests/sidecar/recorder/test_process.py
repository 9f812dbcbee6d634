"""The recorder as a process, between the descriptors that a parent hands over."""

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from infertap import v1
from sidecar.counters import CounterPage
from sidecar.exchange import EndedBy, Exchange, Protocol, Reason
from sidecar.handoff import pack_exchange
from sidecar.handoff.wire import batch_packet, part_packets
from sidecar.recorder.process import DRAIN_SECONDS, NICENESS, read_arguments
from sidecar.spool import Spool
from tests.ports import free_port

WAIT_SECONDS = 30.0
RUN_ID = "ab" * 16


def await_true(claim: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (value := claim()):
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
    return value


def call(number: int) -> Exchange:
    exchange = Exchange(number, 0, Protocol.HTTP1, 1000, 1_700_000_000_000_000_000)
    exchange.ended, exchange.ended_by, exchange.reason = 2000, EndedBy.MODEL, Reason.RATE
    exchange.method, exchange.target, exchange.status = b"GET", b"/v1/x", 200
    exchange.request_head = b"GET /v1/x HTTP/1.1\r\nhost: model\r\n\r\n"
    return exchange


class Parent:
    """What a parent holds, and the recorder that it starts."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory / "spool"
        self.log = directory / "log"
        self.page = CounterPage.create(1)
        self.relay_end, self.recorder_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.lifeline, self.lifeline_held = os.pipe()
        self.row = self.page.recorder()
        self.sent = 0
        self.api = f"127.0.0.1:{free_port()}"
        chosen = {
            "spool_dir": str(self.directory),
            "spool_bytes": "16MiB",
            "api_listen": self.api,
        } | settings
        clean = {name: value for name, value in os.environ.items() if not name.startswith("INFERTAP_")}
        self.environ = clean | {f"INFERTAP_{name.upper()}": value for name, value in chosen.items()}
        self.start()

    def start(self) -> None:
        descriptors = (self.page.descriptor, self.recorder_end.fileno(), self.lifeline)
        command = [sys.executable, "-m", "sidecar.recorder", "--slots", "1", "--run-id", RUN_ID]
        command += ["--counters-fd", str(descriptors[0]), "--handoff-fds", str(descriptors[1])]
        command += ["--lifeline-fd", str(descriptors[2])]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self.environ, pass_fds=descriptors, stdout=log, stderr=log
            )

    def hand_over(self, count: int) -> None:
        for _ in range(count):
            self.sent += 1
            self.relay_end.send(batch_packet(self.sent, [pack_exchange(call(self.sent))]))

    def send(self, packets: Sequence[bytes]) -> None:
        for packet in packets:
            self.relay_end.send(packet)

    def await_appended(self, count: int) -> None:
        await_true(lambda: self.row["appended"] == count, f"{count} appended: {self.row.values()}")

    def appended_on_disk(self) -> int:
        """How many records the spool holds, once the recorder is gone."""
        spool = Spool.open(self.directory, 16 << 20, ring=True)
        try:
            return spool.account().appended
        finally:
            spool.close()

    def die(self) -> None:
        """As a parent that is killed: its end of the lifeline is closed."""
        os.close(self.lifeline_held)
        self.lifeline_held = -1

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_SECONDS)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(WAIT_SECONDS)
        self.relay_end.close()
        self.recorder_end.close()
        os.close(self.page.descriptor)
        os.close(self.lifeline)
        if self.lifeline_held >= 0:
            self.die()


@pytest.fixture
def start_recorder(tmp_path: Path) -> Iterator[Callable[..., Parent]]:
    """Starts a recorder with settings by name; it is gone at the end."""
    with contextlib.ExitStack() as stack:

        def start(**settings: str) -> Parent:
            parent = Parent(tmp_path, **settings)
            stack.callback(parent.close)
            return parent

        yield start


def test_sigterm_takes_what_has_arrived(start_recorder: Callable[..., Parent]) -> None:
    """SIGTERM ends it with status 0 after all that had arrived is in the spool."""
    parent = start_recorder()
    parent.hand_over(1)
    parent.await_appended(1)
    os.kill(parent.process.pid, signal.SIGSTOP)
    parent.hand_over(100)
    parent.process.send_signal(signal.SIGTERM)
    os.kill(parent.process.pid, signal.SIGCONT)
    assert parent.process.wait(WAIT_SECONDS) == 0
    assert parent.row["appended"] == 101
    assert parent.appended_on_disk() == 101


def test_parent_that_is_gone(start_recorder: Callable[..., Parent]) -> None:
    """A parent that dies ends it likewise."""
    parent = start_recorder()
    parent.hand_over(10)
    parent.await_appended(10)
    parent.die()
    assert parent.process.wait(WAIT_SECONDS) == 0
    assert parent.appended_on_disk() == 10


def test_parent_that_is_gone_leaves_room_for_its_successor(start_recorder: Callable[..., Parent]) -> None:
    """A parent that dies while storage is away: what waits for storage is left to the next sidecar."""
    parent = start_recorder(storage=f"127.0.0.1:{free_port()}")
    parent.hand_over(1)
    parent.await_appended(1)
    parent.die()
    assert parent.process.wait(WAIT_SECONDS) == 0
    lines = [json.loads(line) for line in parent.log.read_text().splitlines()]
    at = {line["event"]: datetime.fromisoformat(line["time"]) for line in lines}
    assert at["ended"] - at["parent is gone"] < timedelta(seconds=DRAIN_SECONDS)
    assert "not all is sent: the rest waits in the spool" in at


def test_killed(start_recorder: Callable[..., Parent]) -> None:
    """Killed, it leaves nothing that its successor can't go on from; the counts are those of the run."""
    parent = start_recorder()
    parent.hand_over(20)
    parent.await_appended(20)
    parent.process.kill()
    parent.process.wait(WAIT_SECONDS)
    parent.hand_over(5)
    parent.start()
    parent.await_appended(25)
    assert parent.row["lost_crash"] == 0
    assert parent.terminate() == 0


def test_serves_its_records(start_recorder: Callable[..., Parent]) -> None:
    """Its API serves what it has appended."""
    parent = start_recorder()
    parent.hand_over(3)
    parent.await_appended(3)
    with grpc.insecure_channel(parent.api) as channel:
        listing = v1.RecordServiceStub(channel).ListRecords
        page = listing(v1.ListRecordsRequest(), timeout=WAIT_SECONDS, wait_for_ready=True)
    assert [record.sequence for record in page.records] == [3, 2, 1]


def test_taken_api_port_is_no_reason_not_to_record(start_recorder: Callable[..., Parent]) -> None:
    """Where somebody else has the API's port it says so, and records."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        parent = start_recorder(api_listen=f"127.0.0.1:{taken.getsockname()[1]}")
        parent.hand_over(3)
        parent.await_appended(3)
        await_true(lambda: "API can't be served" in parent.log.read_text(), "a line about the port")
        assert parent.terminate() == 0


def test_limits(start_recorder: Callable[..., Parent]) -> None:
    """It is nice, its memory is limited, and it leaves no core file."""
    parent = start_recorder(recorder_memory_bytes="300MiB")
    await_true(lambda: parent.row["heartbeat_monotonic_ns"], "a sign of life")
    pid = parent.process.pid
    assert os.getpriority(os.PRIO_PROCESS, pid) == max(NICENESS, os.nice(0))
    assert os.sched_getscheduler(pid) == os.SCHED_IDLE
    assert resource.prlimit(pid, resource.RLIMIT_DATA)[0] == 300 << 20
    assert resource.prlimit(pid, resource.RLIMIT_CORE)[0] <= 1


def test_call_larger_than_its_memory(start_recorder: Callable[..., Parent]) -> None:
    """A call that does not fit its memory ends it with a failure; its successor goes on without that call."""
    parent = start_recorder(recorder_memory_bytes="160MiB")
    parent.hand_over(5)
    parent.await_appended(5)
    parent.sent += 1
    body = b"word " * (20 << 20)
    large = call(parent.sent)
    large.request.captured_pieces, large.request.captured = [body], len(body)
    sending = threading.Thread(target=parent.send, args=(part_packets(parent.sent, pack_exchange(large)),))
    sending.start()
    assert parent.process.wait(WAIT_SECONDS) == 1
    parent.start()
    sending.join(WAIT_SECONDS)
    assert not sending.is_alive()
    parent.hand_over(5)
    parent.await_appended(10)
    assert parent.row["lost_crash"] == 1
    assert "word" not in parent.log.read_text()


def test_directory_that_can_not_be_had(start_recorder: Callable[..., Parent], tmp_path: Path) -> None:
    """A spool directory that can't be used ends it with status 1 and one line that says why."""
    (tmp_path / "file").write_text("")
    parent = start_recorder(spool_dir=str(tmp_path / "file" / "spool"))
    assert parent.process.wait(WAIT_SECONDS) == 1
    (line,) = parent.log.read_text().splitlines()
    assert re.search(r"can't record.*Not a directory", line)


def test_spool_of_a_dying_predecessor(start_recorder: Callable[..., Parent], tmp_path: Path) -> None:
    """A predecessor that still holds the spool is waited for."""
    held = Spool.open(tmp_path / "spool", 16 << 20, ring=True)
    parent = start_recorder()
    parent.hand_over(1)
    with pytest.raises(subprocess.TimeoutExpired):
        parent.process.wait(1)
    held.close()
    parent.await_appended(1)


def test_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    """The parent's arguments are read; others end the process with a message."""
    given = ["--slots", "2", "--run-id", RUN_ID, "--counters-fd", "3", "--handoff-fds", "4,5"]
    read = read_arguments([*given, "--lifeline-fd", "6"])
    assert (read.slots, read.run_id, read.counters) == (2, bytes.fromhex(RUN_ID), 3)
    assert (read.handoffs, read.lifeline) == ((4, 5), 6)
    with pytest.raises(SystemExit):
        read_arguments(given)
    assert "--lifeline-fd" in capsys.readouterr().err
