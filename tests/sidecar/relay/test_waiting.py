"""Since when a client's first bytes wait in its socket."""

import socket
import time

from sidecar.relay.waiting import waiting_since


def pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
    return client, accepted


def test_bytes_that_wait() -> None:
    """The time is that of their coming, to a few milliseconds, not that of the question."""
    client, accepted = pair()
    with client, accepted:
        sent = time.monotonic_ns()
        client.sendall(b"request")
        time.sleep(0.3)
        now = time.monotonic_ns()
        assert abs(waiting_since(accepted, now) - sent) < 100_000_000 < now - sent


def test_nothing_waits() -> None:
    """Where nothing came there is no time."""
    client, accepted = pair()
    with client, accepted:
        assert waiting_since(accepted, 1) == -1


def test_unix_sockets_and_closed_ones_tell_nothing() -> None:
    """What can't be told is not guessed."""
    one, other = socket.socketpair()
    with one, other:
        other.sendall(b"request")
        assert waiting_since(one, 1) == -1
    assert waiting_since(one, 1) == -1
