"""Redirect mode with real rules, in a network namespace that stands for a pod: the client names the model's
own port, and the kernel sends it to the sidecar. Needs root (make test-root).

The test's main thread lives in the pod, and with it all that it starts; clients call from outside.
"""

import contextlib
import ctypes
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.journeys.conftest import WAIT_SECONDS, await_true, receive, receive_until

if TYPE_CHECKING:
    from tests.journeys.conftest import Sidecar

pytestmark = pytest.mark.root

NAME = f"infertap-{os.getpid()}"
CABLE = f"it-{os.getpid()}"
POD = {socket.AF_INET: "10.213.77.2", socket.AF_INET6: "fd00:213::2"}
NODE = {socket.AF_INET: "10.213.77.1/30", socket.AF_INET6: "fd00:213::1/126"}
FAMILIES = pytest.mark.parametrize("family", list(POD), ids=["v4", "v6"])
REQUEST = b"POST /v1/predict HTTP/1.1\r\nHost: m\r\nX-Request-Id: mine\r\nContent-Length: 4\r\n\r\nping"
ANSWER = b"HTTP/1.1 200 OK\r\nX-Request-Id: mine\r\nContent-Length: 4\r\n\r\npong"
CLONE_NEWNET = 0x40000000
MISSING = [tool for tool in ("ip", "iptables", "ip6tables") if shutil.which(tool) is None]


def run(command: str) -> None:
    subprocess.run(command.split(), check=True, capture_output=True, timeout=WAIT_SECONDS)


def enter(namespace: int) -> None:
    """Move the calling thread, and what it starts from now on, into a network namespace (setns(2))."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Pod:
    """The namespace that the test is in, and the node it came from."""

    def __init__(self, node: int) -> None:
        self._node = node

    def from_outside(self, act: Callable[[], bytes]) -> bytes:
        """What `act` returns when the node does it."""
        with futures.ThreadPoolExecutor(1, initializer=enter, initargs=(self._node,)) as there:
            return there.submit(act).result(WAIT_SECONDS)

    def call_from_outside(self, host: str, port: int) -> bytes:
        """The answer to a call that the node makes."""
        return self.from_outside(lambda: call(host, port))


@pytest.fixture
def pod() -> Iterator[Pod]:
    """A namespace with one interface; the node at the other end of its cable."""
    if os.geteuid() or MISSING:
        pytest.skip(f"needs root, and {', '.join(MISSING) or 'nothing else'}")
    with open(f"/proc/self/task/{threading.get_native_id()}/ns/net") as node, contextlib.ExitStack() as stack:
        run(f"ip netns add {NAME}")
        stack.callback(run, f"ip netns del {NAME}")
        run(f"ip link add {CABLE} type veth peer name eth0 netns {NAME}")
        stack.callback(run, f"ip link del {CABLE}")
        run(f"ip link set {CABLE} up")
        inside = f"ip -n {NAME}"
        run(f"{inside} link set lo up")
        run(f"{inside} link set eth0 up")
        for family, nodad in ((socket.AF_INET, ""), (socket.AF_INET6, " nodad")):
            run(f"ip addr add {NODE[family]} dev {CABLE}{nodad}")
            run(f"{inside} addr add {POD[family]}/{NODE[family].partition('/')[2]} dev eth0{nodad}")
        with open(f"/run/netns/{NAME}") as namespace:
            enter(namespace.fileno())
        stack.callback(enter, node.fileno())
        yield Pod(node.fileno())


def redirect(chain: str = "PREROUTING") -> None:
    """What the chart's init container does: the model's port to the sidecar's."""
    for tool in ("iptables", "ip6tables"):
        run(f"{tool} -t nat -A {chain} -p tcp --dport 8000 -j REDIRECT --to-ports 9000")


def of_all(sidecar: "Sidecar", name: str) -> list[int]:
    """A counter of each relay."""
    lines = sidecar.get("/metrics")[1].splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith(f"infertap_relay_{name}{{")]


def call(host: str, port: int) -> bytes:
    with socket.create_connection((host, port), timeout=WAIT_SECONDS) as client:
        client.sendall(REQUEST)
        return receive(client, len(ANSWER))


def answering(connection: socket.socket) -> None:
    with contextlib.suppress(AssertionError):
        while receive_until(connection, b"ping"):
            connection.sendall(ANSWER)


class ModelAt:
    """A model on an address of the pod, and how often it was called."""

    def __init__(self, family: int) -> None:
        self.listening = socket.create_server((POD[socket.AddressFamily(family)], 8000), family=family)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                with connection:
                    answering(connection)

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.thread.join(WAIT_SECONDS)
        self.listening.close()


@pytest.fixture
def model_at() -> Iterator[Callable[[int], ModelAt]]:
    models: list[ModelAt] = []

    def start(family: int) -> ModelAt:
        models.append(ModelAt(family))
        return models[-1]

    yield start
    for model in models:
        model.close()


@pytest.mark.parametrize(
    ("family", "listen"),
    [
        (socket.AF_INET, "0.0.0.0:9000"),
        (socket.AF_INET, "[::]:9000"),
        (socket.AF_INET6, "[::]:9000"),
    ],
    ids=["v4", "v4 mapped", "v6"],
)
def test_redirected_call_reaches_whom_it_wanted(
    pod: Pod,
    model_at: Callable[[int], ModelAt],
    start_sidecar: "Callable[..., Sidecar]",
    family: int,
    listen: str,
) -> None:
    """A client of the model's own address and port is answered by the model, and its call is seen."""
    model_at(family)
    sidecar = start_sidecar("original", listen=listen)
    redirect()
    host = POD[socket.AddressFamily(family)]
    for _ in range(3):
        assert pod.call_from_outside(host, 8000) == ANSWER
    account = sidecar.await_account(lambda each: each["calls"]["open"] == 0)
    assert account["calls"]["seen"] == 3


def test_redirect_ends_tls(
    pod: Pod, model_at: Callable[[int], ModelAt], start_sidecar: "Callable[..., Sidecar]", tmp_path: Path
) -> None:
    """Clients that speak TLS to the model's address are redirected to a sidecar that has its certificate."""
    model_at(socket.AF_INET)
    authority = trustme.CA()
    issued = authority.issue_cert("model.example")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(str(cert))
    issued.private_key_pem.write_to_path(str(key))
    start_sidecar("original", listen="tls:0.0.0.0:9000", tls_cert_file=str(cert), tls_key_file=str(key))
    redirect()
    context = ssl.create_default_context()
    authority.configure_trust(context)

    def call_with_tls() -> bytes:
        with (
            socket.create_connection((POD[socket.AF_INET], 8000), timeout=WAIT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname="model.example") as client,
        ):
            client.sendall(REQUEST)
            return receive(client, len(ANSWER))

    assert pod.from_outside(call_with_tls) == ANSWER


@FAMILIES
def test_client_of_the_sidecar_itself_is_reset(
    pod: Pod, model_at: Callable[[int], ModelAt], start_sidecar: "Callable[..., Sidecar]", family: int
) -> None:
    """Who connects to the sidecar's own port wanted nobody else: reset, counted and said, in no loop."""
    model_at(family)
    sidecar = start_sidecar("original", listen="[::]:9000")
    redirect()
    with pytest.raises(ConnectionError):
        assert pod.call_from_outside(POD[socket.AddressFamily(family)], 9000) or pytest.fail("ended")
    assert 'infertap_relay_not_redirected_total{relay="0"} 1' in sidecar.get("/metrics")[1]
    (said,) = sidecar.events("client was not redirected here: reset")
    assert said["route"] == 0


@pytest.mark.parametrize(("workers", "most"), [("1", 3), ("3", 100)])
def test_rules_that_catch_the_relay_itself(
    pod: Pod,
    model_at: Callable[[int], ModelAt],
    start_sidecar: "Callable[..., Sidecar]",
    workers: str,
    most: int,
) -> None:
    """Where rules send the relay's own connections back to it, the client is reset, and nothing spins."""
    model_at(socket.AF_INET)
    sidecar = start_sidecar("original", listen="0.0.0.0:9000", workers=workers)
    redirect("OUTPUT")
    with pytest.raises(ConnectionError):
        assert call(POD[socket.AF_INET], 8000) or pytest.fail("ended in order")
    sidecar.await_account(lambda each: each["calls"]["open"] == 0)
    await_true(lambda: sum(of_all(sidecar, "connections_open")) == 0, "the loop has ended")
    assert sum(of_all(sidecar, "connections_total")) <= most
    assert sidecar.events("client was not redirected here: reset")
