"""How listening ends: newcomers are kept out, who is in is accepted, then the address is free."""

import socket
import threading
from pathlib import Path

import pytest

from sidecar.parent.door import keep_out, shut

SECONDS = 20
FAMILIES = pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["v4", "v6"]
)


@FAMILIES
def test_who_is_in_is_accepted(family: socket.AddressFamily, host: str) -> None:
    """A client that connected before stays in the queue, and can talk once it is accepted."""
    with (
        socket.create_server((host, 0), family=family) as listening,
        socket.create_connection(listening.getsockname()[:2]) as client,
    ):
        keep_out(listening)
        accepted, _ = listening.accept()
        with accepted:
            client.sendall(b"in time")
            assert accepted.recv(7) == b"in time"


@FAMILIES
def test_newcomer_reaches_the_successor(family: socket.AddressFamily, host: str) -> None:
    """Who comes while nobody is let in is not refused: its kernel asks again, and the successor answers."""
    with socket.create_server((host, 0), family=family) as listening, socket.socket(family) as client:
        address = listening.getsockname()[:2]
        keep_out(listening)
        client.settimeout(SECONDS)
        connecting = threading.Thread(target=client.connect, args=(address,))
        connecting.start()
        listening.settimeout(0.3)
        try:
            listening.accept()[0].close()
        except TimeoutError:
            pass
        else:
            connecting.join(SECONDS)
            pytest.skip("this kernel does not let us keep newcomers out")
        shut(listening)
        with socket.create_server(address, family=family) as successor:
            successor.settimeout(SECONDS)
            accepted, _ = successor.accept()
            connecting.join(SECONDS)
            with accepted:
                client.sendall(b"patience")
                assert accepted.recv(8) == b"patience"


@FAMILIES
def test_nobody_accepts_what_is_shut(family: socket.AddressFamily, host: str) -> None:
    """Every process that holds the socket is told at once, and the next client is refused."""
    with socket.create_server((host, 0), family=family) as listening, listening.dup() as in_a_child:
        shut(listening)
        with pytest.raises(OSError, match="Invalid argument"):
            in_a_child.accept()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(listening.getsockname()[:2], timeout=SECONDS)


def test_unix_path_goes_first(tmp_path: Path) -> None:
    """Nobody finds a Unix socket whose door closes; who is in is accepted; shut twice is no error."""
    path = tmp_path / "in.sock"
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as client:
        listening.bind(str(path))
        listening.listen()
        client.connect(str(path))
        keep_out(listening)
        assert not path.exists()
        accepted, _ = listening.accept()
        with accepted:
            client.sendall(b"x")
            assert accepted.recv(1) == b"x"
        shut(listening)
        shut(listening)
        with pytest.raises(OSError, match="Invalid argument"):
            listening.accept()
