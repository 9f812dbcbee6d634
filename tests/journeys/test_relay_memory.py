"""Law 5 in the relay: whatever comes, its memory stays under what its settings say, and what a peak took it
gives back.
"""

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar import config
from sidecar.relay.memory import bound_bytes
from tests.journeys.conftest import WAIT_SECONDS, await_true, reset

if TYPE_CHECKING:
    from tests.journeys.conftest import Model, Sidecar

MIB = 1 << 20
CLIENTS = 300
SETTINGS = {"capture_budget_bytes": "8MiB", "state_budget_bytes": "8MiB", "max_connections": str(CLIENTS)}


def resident(sidecar: "Sidecar") -> int:
    """RssAnon of the relay, in bytes (proc(5), status)."""
    status = Path(f"/proc/{sidecar.pid('relay 0')}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) << 10


def counter(sidecar: "Sidecar", name: str) -> int:
    found = re.search(
        rf"^infertap_relay_{name}(?:_total)?\{{\S* (\d+)$", sidecar.get("/metrics")[1], re.MULTILINE
    )
    assert found is not None, name
    return int(found[1])


def bound(sidecar: "Sidecar") -> int:
    return bound_bytes(config.read({k: v for k, v in sidecar.environ.items() if k.startswith("INFERTAP_")}))


async def send_from_all(address: tuple[str, int], data: bytes, seconds: float) -> list[socket.socket]:
    """Open CLIENTS connections, and send on each what it takes of `data`."""
    loop = asyncio.get_running_loop()

    async def one() -> socket.socket:
        client = socket.socket()
        client.setblocking(False)
        await loop.sock_connect(client, address)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(loop.sock_sendall(client, data), seconds)
        return client

    return list(await asyncio.gather(*(one() for _ in range(CLIENTS))))


def test_half_heads(start_sidecar: "Callable[..., Sidecar]", start_model: "Callable[..., Model]") -> None:
    """Half a head on each of very many connections: the heaviest are given up, and their bytes go on."""
    got: list[int] = []

    def counting(connection: socket.socket) -> None:
        while data := connection.recv(1 << 16):
            got.append(len(data))

    sidecar = start_sidecar(start_model(counting).address, **SETTINGS)
    half = b"POST /v1/x HTTP/1.1\r\nHost: m\r\nX-Long: " + b"a" * 60_000
    clients = asyncio.run(send_from_all(sidecar.address, half, 20))
    await_true(lambda: counter(sidecar, "state_budget_spent") > 0, "taps are given up")
    await_true(lambda: 0 < counter(sidecar, "state_bytes") <= 8 * MIB, "what is left is within the budget")
    assert resident(sidecar) < bound(sidecar)
    spent = counter(sidecar, "state_budget_spent")
    await_true(lambda: sum(got) >= spent * len(half), "what was held has gone on")
    for client in clients:
        client.close()
    await_true(lambda: counter(sidecar, "connections_open") == 0, "all have left")
    sidecar.await_settled()


def test_stuck_model(start_sidecar: "Callable[..., Sidecar]", start_model: "Callable[..., Model]") -> None:
    """Very many uploads to a model that reads nothing: what waits in the relay is bounded, and given back."""
    may_go = threading.Event()

    def never_reading(connection: socket.socket) -> None:
        may_go.wait(WAIT_SECONDS)

    sidecar = start_sidecar(start_model(never_reading).address, **SETTINGS)
    before = resident(sidecar)
    body = b"POST /v1/x HTTP/1.1\r\nHost: m\r\nContent-Length: 16777216\r\n\r\n" + bytes(16 * MIB)
    clients = asyncio.run(send_from_all(sidecar.address, body, 4))
    most = resident(sidecar)
    assert most < bound(sidecar)
    for client in clients:
        reset(client)
    await_true(lambda: counter(sidecar, "connections_open") == 0, "all have left")
    await_true(lambda: resident(sidecar) < before + 24 * MIB, f"memory comes back from {most >> 20} MiB")
    may_go.set()
