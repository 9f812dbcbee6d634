"""Unix sockets on either side of the relay, beside TCP routes and over several workers."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.journeys.conftest import Sidecar

    StartSidecar = Callable[..., Sidecar]

REQUEST = b"POST /v1/predict HTTP/1.1\r\nHost: model\r\nX-Request-Id: mine\r\nContent-Length: 4\r\n\r\nping"
ANSWER = b"HTTP/1.1 200 OK\r\nX-Request-Id: mine\r\nContent-Length: 4\r\n\r\npong"


@pytest.fixture
def unix_model(tmp_path: Path) -> Iterator[Path]:
    """A model on a Unix socket that answers each REQUEST."""
    path = tmp_path / "model.sock"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    while exchange(connection, len(REQUEST)) == REQUEST:
                        connection.sendall(ANSWER)

    thread = threading.Thread(target=serve)
    thread.start()
    yield path
    listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    listening.close()


def exchange(connection: socket.socket, size: int, send: bytes = b"") -> bytes:
    """Send, then read `size` bytes or up to the end."""
    connection.sendall(send)
    received = b""
    while len(received) < size and (piece := connection.recv(65536)):
        received += piece
    return received


@pytest.mark.parametrize("workers", ["1", "3"])
def test_unix_on_both_sides(
    start_sidecar: "StartSidecar", unix_model: Path, tmp_path: Path, workers: str
) -> None:
    """A call passes from one Unix socket to another, and is seen; a TCP route to the same model works too."""
    path = tmp_path / "in.sock"
    routes = f"unix:{path}=unix:{unix_model},[::1]:0=unix:{unix_model}"
    sidecar = start_sidecar("off", routes=routes, workers=workers)
    for _ in range(4):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(path))
            assert exchange(client, len(ANSWER), REQUEST) == ANSWER
    port = int(sidecar.listen[1].rpartition(":")[2])
    with socket.create_connection(("::1", port), timeout=10) as client:
        assert exchange(client, len(ANSWER), REQUEST) == ANSWER
    account = sidecar.await_account(lambda each: each["calls"]["open"] == 0)
    assert account["calls"]["seen"] == 5
    sidecar.stop()
    assert not path.exists()


def test_unix_model_that_is_not_up(start_sidecar: "StartSidecar", tmp_path: Path) -> None:
    """Nobody behind the model's path: the client is broken off, as at a port where nobody listens."""
    sidecar = start_sidecar(f"unix:{tmp_path}/none.sock")
    # The reset may come before connecting is over.
    with pytest.raises(ConnectionError), socket.create_connection(sidecar.address, timeout=10) as client:
        assert exchange(client, 1, REQUEST) or pytest.fail("an orderly end")
