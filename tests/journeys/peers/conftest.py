"""Real peers: model servers and clients that others wrote, each in an environment of its own.

`make test-peers` makes the environments under build/peers; without them these tests are skipped. Servers and
clients are subprocesses: nothing of theirs is imported here. A client (`drive_*.py`) prints, call by call,
what it sent and what it saw; the tests hold the records against that, field by field.
"""

import contextlib
import http.client
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.conftest import Sidecar, await_true, sidecar_environ
from tests.journeys.peers.scripted import ScriptedServer
from tests.ports import free_port

HERE = Path(__file__).parent
ENVIRONMENTS = Path(__file__).parents[3] / "build" / "peers"
START_SECONDS = 120.0
DRIVE_SECONDS = 90.0
LITELLM_KEY = "sk-peers-4711-do-not-keep"


def python_of(environment: str) -> Path:
    """The interpreter of one of the peers' environments; skips the test where it isn't there."""
    python = ENVIRONMENTS / environment / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no build/peers/{environment}: make test-peers makes it")
    return python


def environ_of_peers(**more: str) -> dict[str, str]:
    """This environment without what would lead a peer to other code, servers or settings."""
    astray = ("INFERTAP_", "PYTHON", "OPENAI_", "ANTHROPIC_", "OLLAMA_", "LITELLM_", "DATABASE_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(astray)} | more


@pytest.fixture(scope="module")
def start_sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Sidecar]]:
    """Starts sidecars that last as long as the module's peers, and waits until they are ready."""
    sidecars: list[Sidecar] = []

    def start(upstream: str) -> Sidecar:
        directory = tmp_path_factory.mktemp("sidecar")
        sidecars.append(Sidecar(sidecar_environ(upstream, directory / "spool"), directory / "sidecar.log"))
        await_true(sidecars[-1].is_ready, "sidecar is ready")
        return sidecars[-1]

    yield start
    for sidecar in sidecars:
        sidecar.end()


Drive = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def drive() -> Drive:
    """Runs a client of an environment to its end: what each of its calls sent and saw, by the call's name."""

    def run(environment: str, script: str, *arguments: str) -> dict[str, dict[str, Any]]:
        ran = subprocess.run(
            [python_of(environment), "-I", HERE / script, *arguments],
            env=environ_of_peers(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DRIVE_SECONDS,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr[-4000:]
        return {told["call"]: told for told in map(json.loads, ran.stdout.splitlines())}

    return run


@contextlib.contextmanager
def serving(
    command: list[str | Path], port: int, ready_path: str, log_path: Path, **environ: str
) -> Iterator[None]:
    """A server process, from when it is ready until the block ends."""
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            env=environ_of_peers(**environ),
            cwd=log_path.parent,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_ready(port, ready_path):
            assert process.poll() is None, log_path.read_text()[-4000:]
            assert time.monotonic() < deadline, log_path.read_text()[-4000:]
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def is_ready(port: int, path: str) -> bool:
    """Whether a server answers 200 there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@pytest.fixture(scope="module")
def mlserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Addresses of an MLServer (HTTP, gRPC) with a model of scikit-learn, "iris" in version "v7"."""
    python = python_of("mlserver")
    directory = tmp_path_factory.mktemp("mlserver")
    http_port, grpc_port, metrics_port = free_port(), free_port(), free_port()
    ports = [str(port) for port in (http_port, grpc_port, metrics_port)]
    train = [python, "-I", HERE / "train_iris.py", directory, *ports]
    subprocess.run(train, env=environ_of_peers(), stdin=subprocess.DEVNULL, check=True, timeout=60)
    command: list[str | Path] = [python.with_name("mlserver"), "start", directory]
    with serving(command, http_port, "/v2/health/ready", directory / "server.log"):
        yield f"127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}"


@pytest.fixture(scope="module")
def litellm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a LiteLLM proxy with mock answers (litellm.yaml)."""
    python = python_of("llm")
    directory = tmp_path_factory.mktemp("litellm")
    port = free_port()
    listen = ["--host", "127.0.0.1", "--port", str(port)]
    command: list[str | Path] = [python.with_name("litellm"), "--config", HERE / "litellm.yaml", *listen]
    environ = {"LITELLM_MASTER_KEY": LITELLM_KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with serving(command, port, "/health/liveliness", directory / "server.log", **environ):
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def scripted() -> Iterator[str]:
    """Address of a server whose answers are scripted.py's; the clients are the real peers."""
    server = ScriptedServer()
    yield server.address
    server.close()
