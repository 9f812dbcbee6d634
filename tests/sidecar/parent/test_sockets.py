"""What the parent opens before any child runs."""

import os
import socket
from pathlib import Path

import pytest

from sidecar import config
from sidecar.parent.door import keep_out
from sidecar.parent.sockets import StartError, address_of, open_sockets


def settings(**chosen: str) -> config.Settings:
    """Settings on free loopback ports."""
    free = {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0", "api_listen": "127.0.0.1:0"} | chosen
    return config.read({f"INFERTAP_{name.upper()}": value for name, value in free.items()})


def test_every_route_listens() -> None:
    """Each route has its socket, in order, and says where it is bound."""
    with open_sockets(settings(routes="127.0.0.1:0=127.0.0.1:1,[::1]:0=127.0.0.1:2")) as opened:
        first, second = map(address_of, opened.listening)
        assert first.startswith("127.0.0.1:")
        assert second.startswith("[::1]:")
        socket.create_connection(opened.listening[1].getsockname()[:2]).close()


def test_one_pair_for_each_worker() -> None:
    """Each relay slot has its own hand-off pair, both ends of which the parent keeps."""
    with open_sockets(settings(workers="3")) as opened:
        assert len(opened.pairs) == 3
        opened.pairs[2].relay_end.send(b"packet")
        assert opened.pairs[2].recorder_end.recv(100) == b"packet"


def test_taken_port() -> None:
    """A port in use ends the start, with the setting that asked for it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for name in ("listen", "admin_listen", "api_listen"):
            with (
                pytest.raises(StartError, match=f"INFERTAP_{name.upper()}: can't listen on 127.0.0.1:{port}"),
                open_sockets(settings(**{name: f"127.0.0.1:{port}"})),
            ):
                pass


def test_unix_socket_comes_and_goes(tmp_path: Path) -> None:
    """A Unix socket can be connected to by every user, and is gone afterwards."""
    path = tmp_path / "in.sock"
    with open_sockets(settings(listen=f"unix:{path}")) as opened:
        assert address_of(opened.listening[0]) == f"unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o666
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert not path.exists()


def test_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    """What a killed sidecar left does not keep the next one from starting."""
    path = tmp_path / "in.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with open_sockets(settings(listen=f"unix:{path}")), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_unix_socket_of_another_is_left(tmp_path: Path) -> None:
    """Where somebody still listens, or a file is in the way, the start ends and nothing is removed."""
    path = tmp_path / "in.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(StartError, match=r"INFERTAP_LISTEN: can't listen on unix:.*in use"):
            open_sockets(settings(listen=f"unix:{path}")).__enter__()
    plain = tmp_path / "plain"
    plain.write_bytes(b"data")
    with pytest.raises(StartError, match="in use"), open_sockets(settings(listen=f"unix:{plain}")):
        pass
    assert plain.read_bytes() == b"data"


def test_nothing_stays_open() -> None:
    """Closing gives back every descriptor."""
    before = len(os.listdir("/proc/self/fd"))
    with open_sockets(settings()):
        assert len(os.listdir("/proc/self/fd")) > before
    assert len(os.listdir("/proc/self/fd")) == before


def test_successors_unix_socket_is_left(tmp_path: Path) -> None:
    """A sidecar that ends late does not take away the socket of the one that has come after it."""
    path = tmp_path / "in.sock"
    with open_sockets(settings(listen=f"unix:{path}")) as opened, socket.socket(socket.AF_UNIX) as successor:
        keep_out(opened.listening[0])
        successor.bind(str(path))
    assert path.exists()
