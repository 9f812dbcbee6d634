"""Journey 4, the sidecar's part: killed whole under load, again and again; what its spool acknowledged is in
storage exactly once.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar, Storage

KILLS = 20
CLIENTS = 3
BODY = b'{"text": "%s"}' % (b"b" * 500)
REQUEST = b"POST /v1/x HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answer(connection: socket.socket) -> None:
    """Answer each request."""
    received = 0
    while piece := connection.recv(1 << 16):
        before, received = received, received + piece.count(b'b"}')
        connection.sendall(ANSWER * (received - before))


@contextlib.contextmanager
def load(sidecar: "Sidecar") -> Iterator[None]:
    """Clients that ask without pause until the sidecar is gone."""

    def ask() -> None:
        with contextlib.suppress(OSError), sidecar.connect() as client:
            while True:
                client.sendall(REQUEST)
                received = b""
                while not received.endswith(b"ok"):
                    piece = client.recv(4096)
                    if not piece:
                        return
                    received += piece

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def kill(sidecar: "Sidecar") -> None:
    """Every process of it, at once, as an out-of-memory kill of its container does."""
    for pid in [sidecar.process.pid, sidecar.pid("relay 0"), sidecar.pid("recorder")]:
        os.kill(pid, signal.SIGKILL)
    sidecar.process.wait()


def test_killed_under_load(
    start_sidecar: "Callable[..., Sidecar]",
    start_model: "Callable[..., Model]",
    start_storage: "Callable[..., Storage]",
    tmp_path: Path,
) -> None:
    """Killed 20 times: each record the spool took is in storage once, and every call is accounted for."""
    model, storage = start_model(answer), start_storage()
    settings = {"spool_dir": str(tmp_path / "the-spool"), "storage": storage.address}
    appended = 0
    for turn in range(KILLS):
        sidecar = start_sidecar(model.address, **settings)
        with load(sidecar):
            # Some die before their recorder is up, some in full work.
            wanted = (0, 1, 100, 400)[turn % 4]
            account = sidecar.await_account(
                lambda each, wanted=wanted: each["hand_over"]["appended"] >= wanted
            )
            before, appended = appended, account["spool"]["appended_ever"] or appended
            assert appended >= before + wanted, "what was acknowledged is there in the next life"
            kill(sidecar)
    sidecar = start_sidecar(model.address, **settings)
    account = sidecar.await_account(
        lambda each: each["spool"]["appended_ever"] >= appended and each["spool"]["pending"] == 0
    )
    assert account["balanced"], account
    assert account["earlier"]["seen"] > 0
    appended = account["spool"]["appended_ever"]
    assert account["spool"]["acked"] == appended
    stored = storage.records()
    assert sorted(record.sequence for record in stored) == list(range(1, appended + 1))
    assert len({record.spool_id for record in stored}) == 1
    assert len({record.call_id for record in stored}) == appended
