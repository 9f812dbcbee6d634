"""Real processes for journeys: a sidecar with free ports, and a model that is a plain TCP server.

    def test_x(start_sidecar, start_model):
        model = start_model(answer)                    # answer(connection): a thread each
        sidecar = start_sidecar(model.address)         # settings: start_sidecar(upstream, sample_rate="0.1")
        with sidecar.connect() as client: ...
        sidecar.await_account(lambda account: account["calls"]["seen"] == 1)

Everything is bounded by WAIT_SECONDS, and ended with the test.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from infertap import Client, v1
from tests.journeys.link import Link
from tests.ports import free_port

WAIT_SECONDS = 30.0


def await_true(claim: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> Any:
    """The first true value of `claim`."""
    deadline = time.monotonic() + seconds
    while not (value := claim()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return value


def receive(connection: socket.socket, count: int) -> bytes:
    """Exactly `count` bytes; fewer where the other side ends."""
    received = bytearray()
    while len(received) < count and (piece := connection.recv(min(count - len(received), 1 << 20))):
        received += piece
    return bytes(received)


def receive_all(connection: socket.socket) -> bytes:
    """Everything until the other side ends."""
    return receive(connection, 1 << 62)


def receive_until(connection: socket.socket, end: bytes) -> bytes:
    """Bytes up to and with `end`, and what came along behind it."""
    received = bytearray()
    while end not in received:
        piece = connection.recv(1 << 16)
        assert piece, f"ended before {end!r}"
        received += piece
    return bytes(received)


def reset(connection: socket.socket) -> None:
    """Break a connection off, so that the other side sees RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Model:
    """A TCP server whose every connection is served by `answer` in a thread of its own."""

    def __init__(self, answer: Callable[[socket.socket], None], port: int = 0) -> None:
        self.listening = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port = self.listening.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.faults: list[BaseException] = []
        self._answer = answer
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                connection.settimeout(WAIT_SECONDS)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._answer(connection)
        except (ConnectionError, TimeoutError):
            pass  # clients may leave; a test that minds looks at what was received
        except BaseException as fault:
            self.faults.append(fault)

    def close(self) -> None:
        """Stop accepting and end what is open."""
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self._accepting.join(WAIT_SECONDS)
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WAIT_SECONDS)
        for connection in self._connections:
            connection.close()


class Sidecar:
    """`python -m sidecar` with settings, its event log, and what its admin endpoint says."""

    def __init__(self, environ: dict[str, str], log_path: Path, under: Sequence[str] = ()) -> None:
        """`under` is a command that runs it: prlimit, faketime, ..."""
        self.environ = environ
        self.log_path = log_path
        with log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*under, sys.executable, "-m", "sidecar"],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        started = await_true(lambda: self.events("sidecar started"), "sidecar starts")[-1]
        self.listen = started["listen"].split(",")
        self.admin = self._split(started["admin"])
        self.api = environ["INFERTAP_API_LISTEN"]

    @property
    def address(self) -> tuple[str, int]:
        """Where the first route listens, which must be a TCP address."""
        return self._split(self.listen[0])

    @staticmethod
    def _split(address: str) -> tuple[str, int]:
        host, _, port = address.removeprefix("tls:").rpartition(":")
        return host, int(port)

    # -- its log

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of that name so far, in order."""
        assert self.process.poll() is None or name != "sidecar started", self.log_path.read_text()
        lines = self.log_path.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [event for event in found if event["event"] == name]

    def pid(self, child: str) -> int:
        """The latest process of `child`: "recorder", "relay 0", ..."""
        return int([event["pid"] for event in self.events("child started") if event["child"] == child][-1])

    # -- its admin endpoint

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an admin page."""
        connection = http.client.HTTPConnection(*self.admin, timeout=WAIT_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def is_ready(self) -> bool:
        return self.get("/readyz")[0] == 200

    def account(self) -> dict[str, Any]:
        """The account of law 4."""
        return dict(json.loads(self.get("/account")[1]))

    def await_account(
        self, claim: Callable[[dict[str, Any]], bool], seconds: float = WAIT_SECONDS
    ) -> dict[str, Any]:
        """The first account of which `claim` holds."""
        latest: dict[str, Any] = {}

        def holds() -> bool:
            nonlocal latest
            latest = self.account()
            return claim(latest)

        try:
            await_true(holds, "account", seconds)
        except AssertionError:
            raise AssertionError(f"account stays {latest}") from None
        return latest

    def await_settled(self) -> dict[str, Any]:
        """The account once nothing is open or in transit; it must balance."""
        return self.await_account(
            # Its numbers are read one by one: acknowledgements may come between.
            lambda each: (
                each["calls"]["open"] == 0 and each["hand_over"]["in_transit"] == 0 and each["balanced"]
            )
        )

    # -- its records

    def records(self, **filtered: Any) -> list[v1.Record]:
        """The records that its API serves now, the newest first; `filtered` are fields of RecordFilter."""
        request = v1.ListRecordsRequest(filter=v1.RecordFilter(**filtered), page_size=1000)
        found: list[v1.Record] = []
        with grpc.insecure_channel(self.api) as channel:
            listing = v1.RecordServiceStub(channel).ListRecords
            while True:
                # A sidecar takes traffic before its recorder is up, and without it.
                page = listing(request, timeout=WAIT_SECONDS, wait_for_ready=True)
                found += page.records
                request.page_token = page.next_page_token
                if not request.page_token:
                    return found

    def await_records(self, count: int = 1, **filtered: Any) -> list[v1.Record]:
        """The records once there are `count`; more are too many."""
        found: list[v1.Record] = []

        def has_come() -> bool:
            nonlocal found
            found = self.records(**filtered)
            return len(found) >= count

        await_true(has_come, f"{count} records")
        assert len(found) == count
        return found

    # -- its traffic

    def connect(self) -> socket.socket:
        """A client's connection."""
        connection = socket.create_connection(self.address, timeout=WAIT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    # -- its end

    def stop(self) -> int:
        """SIGTERM, drain, exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_SECONDS)

    def end(self) -> None:
        """End it whatever state it is in; its children follow by the lifeline."""
        if self.process.poll() is None:
            for event in self.events("child started"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(event["pid"], signal.SIGCONT)
            self.process.kill()
            self.process.wait()


def sidecar_environ(upstream: str, spool: Path, **settings: str) -> dict[str, str]:
    """A sidecar's environment with free ports and a fast drain; `settings` by name without the prefix."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("INFERTAP_")}
    chosen = {
        "listen": "127.0.0.1:0",
        "upstream": upstream,
        "admin_listen": "127.0.0.1:0",
        "api_listen": f"127.0.0.1:{free_port()}",
        "spool_dir": str(spool),
        "spool_bytes": "64MiB",
        "drain_delay_seconds": "0",
        "drain_seconds": "5",
    } | settings
    return environ | {f"INFERTAP_{name.upper()}": value for name, value in chosen.items()}


@pytest.fixture
def start_model() -> Iterator[Callable[..., Model]]:
    """Starts models; a fault in an `answer` fails the test at its end."""
    models: list[Model] = []

    def start(answer: Callable[[socket.socket], None], port: int = 0) -> Model:
        models.append(Model(answer, port))
        return models[-1]

    yield start
    for model in models:
        model.close()
    for model in models:
        assert model.faults == []


@pytest.fixture
def start_sidecar(tmp_path: Path) -> Iterator[Callable[..., Sidecar]]:
    """Starts sidecars, each with a spool of its own unless one is given, and waits until they are ready."""
    sidecars: list[Sidecar] = []

    def start(upstream: str, *, under: Sequence[str] = (), **settings: str) -> Sidecar:
        number = len(sidecars)
        environ = sidecar_environ(upstream, tmp_path / f"spool-{number}", **settings)
        sidecars.append(Sidecar(environ, tmp_path / f"sidecar-{number}.log", under))
        await_true(sidecars[-1].is_ready, "sidecar is ready")
        return sidecars[-1]

    yield start
    for sidecar in sidecars:
        sidecar.end()


class Storage:
    """`python -m storage` on free ports, or on given ones, with its event log."""

    def __init__(self, archive: Path, log_path: Path, under: Sequence[str] = (), **settings: str) -> None:
        """`under` is a command that runs it."""
        chosen = {
            "archive": str(archive),
            "storage_listen": "127.0.0.1:0",
            "web_listen": "127.0.0.1:0",
        } | settings
        environ = {name: value for name, value in os.environ.items() if not name.startswith("INFERTAP_")}
        self.archive = archive
        self.log_path = log_path
        with log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*under, sys.executable, "-m", "storage"],
                env=environ | {f"INFERTAP_{name.upper()}": value for name, value in chosen.items()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        started = await_true(self._started, "storage starts")
        # HOST:PORT each.
        self.address = str(started["listen"])
        self.web = str(started["web"])

    def _started(self) -> dict[str, Any] | None:
        assert self.process.poll() is None, self.log_path.read_text()
        for line in self.log_path.read_text().splitlines():
            event = json.loads(line) if line.startswith("{") and line.endswith("}") else {}
            if event.get("event") == "storage started" and event.get("pid") == self.process.pid:
                return dict(event)
        return None

    def records(self, **conditions: Any) -> list[v1.Record]:
        """All records that match, newest first."""
        with Client(self.address) as client:
            return list(client.list(**conditions))

    def await_records(self, count: int, **conditions: Any) -> list[v1.Record]:
        """Until there are so many."""
        return list(
            await_true(lambda: len(found := self.records(**conditions)) >= count and found, "records come")
        )

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page."""
        host, _, port = self.web.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=WAIT_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, drain, exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_SECONDS)


@pytest.fixture
def start_storage(tmp_path: Path) -> Iterator[Callable[..., Storage]]:
    """Starts storages, each with an archive of its own unless `archive` names one."""
    storages: list[Storage] = []

    def start(archive: Path | None = None, *, under: Sequence[str] = (), **settings: str) -> Storage:
        number = len(storages)
        directory = archive or tmp_path / f"archive-{number}"
        storages.append(Storage(directory, tmp_path / f"storage-{number}.log", under, **settings))
        return storages[-1]

    yield start
    for storage in storages:
        if storage.process.poll() is None:
            storage.kill()


@pytest.fixture
def link() -> Iterator[Link]:
    """A network between sidecar and storage."""
    made = Link()
    yield made
    made.close()
