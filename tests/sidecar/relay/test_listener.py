"""The listener: accepting, stopping, and running out of descriptors."""

import asyncio
import resource
import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.sidecar.relay.conftest import Bench


async def test_stopped_listener_leaves_clients_queued(bench: "Bench") -> None:
    """After stop nobody is accepted; clients wait in the queue until a listener starts again."""
    bench.listener.stop()
    await bench.client()
    loop = asyncio.get_running_loop()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(loop.sock_accept(bench.model_socket), 0.2)
    bench.listener.start()
    await bench.model()
    assert bench.row["connections"] == 1


async def test_stopping_keeps_open_connections(bench: "Bench") -> None:
    """A connection accepted before stop goes on."""
    client, model = await bench.joined()
    bench.listener.stop()
    await client.send(b"still here")
    assert await model.receive(10) == b"still here"


async def test_no_descriptors_pauses_and_recovers(
    bench: "Bench", monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without free descriptors accepting pauses instead of spinning, and goes on once there are some."""
    attempts = 0
    real = bench.listener._accept

    def counted() -> None:
        nonlocal attempts
        attempts += 1
        real()

    monkeypatch.setattr(bench.listener, "_accept", counted)
    bench.listener.stop()
    bench.listener.start()
    client = socket.socket()
    client.setblocking(False)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(client.fileno(), bench.model_socket.fileno()) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (used, hard))
    try:
        fill = []
        while True:
            try:
                fill.append(socket.socket())
            except OSError:
                break
        with pytest.raises((BlockingIOError, TimeoutError)):
            client.connect(bench.listener._listening.getsockname())
        for _ in range(30):
            await asyncio.sleep(0.01)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for each in fill:
        each.close()
    assert 1 <= attempts <= 5
    assert "accepting paused" in capfd.readouterr().err
    await bench.model()
    client.close()


async def test_client_that_leaves_while_dialling_is_no_fault(bench: "Bench") -> None:
    """A client that resets at once leaves nothing behind."""
    client = await bench.client()
    client.reset()
    await bench.until(lambda: bench.row["connections"] == 1)
    await bench.until(lambda: bench.row["connections_open"] == 0)
