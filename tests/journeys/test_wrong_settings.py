"""Journey 8: settings that are wrong end the sidecar at once with one clear line; a model that is not up does
not.
"""

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_port

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar


def run_sidecar(tmp_path: Path, arguments: list[str] | None = None, **settings: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a sidecar that ends by itself, started from another directory."""
    environ = {
        "INFERTAP_LISTEN": "127.0.0.1:0",
        "INFERTAP_ADMIN_LISTEN": "127.0.0.1:0",
        "INFERTAP_API_LISTEN": "127.0.0.1:0",
        "INFERTAP_SPOOL_DIR": str(tmp_path / "spool"),
    } | {f"INFERTAP_{name.upper()}": value for name, value in settings.items()}
    ended = subprocess.run(
        [sys.executable, "-m", "sidecar", *(arguments or [])],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"upsteam": "127.0.0.1:1"}, r"INFERTAP_UPSTEAM: .*did you mean INFERTAP_UPSTREAM\?"),
        ({"workers": "many"}, r"INFERTAP_WORKERS='many': expected a whole number from 1 to 64"),
        ({"sample_rate": "1.5"}, r"INFERTAP_SAMPLE_RATE='1.5': expected a number from 0 to 1"),
        ({"upstream": "off"}, r"INFERTAP_UPSTREAM: no upstream"),
        ({"listen": "nowhere"}, r"INFERTAP_LISTEN='nowhere': expected host:port"),
    ],
)
def test_wrong_setting_ends_at_once(tmp_path: Path, settings: dict[str, str], says: str) -> None:
    """A setting that can't be used ends the sidecar with status 2 and one line that names it."""
    status, stdout, stderr = run_sidecar(tmp_path, **settings)
    assert status == 2
    assert stdout == ""
    assert re.fullmatch(says + r".*\n", stderr), stderr


@pytest.mark.parametrize("setting", ["listen", "admin_listen", "api_listen"])
def test_taken_port_ends_at_once(tmp_path: Path, setting: str) -> None:
    """A port that somebody else listens on ends the sidecar with one line that names setting and address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, _, stderr = run_sidecar(tmp_path, **{setting: address})
    assert status == 2
    name = f"INFERTAP_{setting.upper()}"
    assert stderr == f"{name}: can't listen on {address}: Address already in use\n"


def test_every_fault_has_its_line(tmp_path: Path) -> None:
    """Several faults are told together, a line each."""
    status, _, stderr = run_sidecar(tmp_path, workers="0", sample_rate="x")
    assert status == 2
    assert [line.split("=")[0] for line in stderr.splitlines()] == [
        "INFERTAP_WORKERS",
        "INFERTAP_SAMPLE_RATE",
    ]


def test_help_lists_every_setting(tmp_path: Path) -> None:
    """--help prints all settings with default and meaning, from any directory, and is no error."""
    from infertap.settings import declared
    from sidecar.config import Settings

    status, stdout, _ = run_sidecar(tmp_path, ["--help"])
    assert status == 0
    for setting in declared(Settings):
        assert f"{setting.name}={setting.default}" in stdout
        assert setting.means in stdout


def test_arguments_are_refused(tmp_path: Path) -> None:
    """An argument that the sidecar does not have ends it with its usage."""
    status, _, stderr = run_sidecar(tmp_path, ["--listen", "1"])
    assert status == 2
    assert stderr.startswith("usage: ")


def test_model_that_is_not_up_yet(
    start_sidecar: "Callable[..., Sidecar]", start_model: "Callable[..., Model]"
) -> None:
    """Before the model is up clients get a reset, as from a refused connection; then they get answers."""
    port = free_port()
    sidecar = start_sidecar(f"127.0.0.1:{port}")
    for _ in range(3):
        with pytest.raises(ConnectionResetError), sidecar.connect() as client:
            client.recv(1)
    assert sidecar.is_ready()
    assert 'infertap_relay_upstream_refused_total{relay="0"} 3' in sidecar.get("/metrics")[1]

    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    start_model(answer, port)
    with sidecar.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 204 No Content\r\n")


def test_sidecar_ends_in_order(start_sidecar: "Callable[..., Sidecar]") -> None:
    """SIGTERM makes the sidecar unready at once and ends it with status 0."""
    sidecar = start_sidecar("127.0.0.1:1", drain_delay_seconds="60")
    sidecar.process.terminate()
    while sidecar.get("/readyz") != (503, "draining\n"):
        pass
    assert sidecar.get("/healthz")[0] == 200
    with pytest.raises(ConnectionResetError), sidecar.connect() as client:
        client.recv(1)  # accepted, while endpoints lag: the reset is the missing model's
    assert sidecar.stop() == 0, "a second signal shortens the delay"
