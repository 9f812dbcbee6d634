"""The listener: accepting, stopping, and running out of descriptors."""

import asyncio
import resource
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.relay import listener as listener_module
from sidecar.relay import traffic as traffic_module
from sidecar.relay.rounds import Rounds

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


async def test_many_half_open_clients_pause_accepting(
    bench: "Bench", monkeypatch: pytest.MonkeyPatch
) -> None:
    """While too many clients wait for their model no more are accepted; they stay queued, and come later."""
    monkeypatch.setattr(traffic_module, "HALF_OPEN_MAX", 1)
    may_go_on = asyncio.Event()
    dial = bench.listener._dialler.dial

    async def slowly(*arguments: Any) -> Any:
        await may_go_on.wait()
        return await dial(*arguments)

    monkeypatch.setattr(bench.listener._dialler, "dial", slowly)
    for _ in range(3):
        await bench.client()
    await bench.until(lambda: bench.row["accepting_paused"] > 0)
    assert (bench.row["connections"], bench.traffic.opening) == (1, 1)
    may_go_on.set()
    for _ in range(3):
        await bench.model()
    assert bench.row["connections"] == 3


async def test_as_many_connections_as_the_settings_allow(bench: "Bench") -> None:
    """One client more than may be connected waits until another has gone."""
    bench.traffic.connections_max = 2
    first, _ = await bench.joined()
    await bench.joined()
    waiting = await bench.client()
    await waiting.send(b"let me in")
    await bench.until(lambda: bench.row["accepting_paused"] > 0)
    assert bench.row["connections"] == 2
    first.reset()
    model = await bench.model()
    assert await model.receive(9) == b"let me in"


async def test_clients_that_say_nothing_stay(bench: "Bench") -> None:
    """Silence is no reason to close: whether to wait is for the model to say."""
    client, model = await bench.joined()
    Rounds(bench.traffic, 1 << 30, lambda: None).start()
    await bench.until(lambda: bool(bench.taps))
    for _ in range(3):
        next(iter(bench.traffic.connections)).tick(1 << 62)
    await client.send(b"at last")
    assert await model.receive(7) == b"at last"


async def test_call_begins_when_its_first_bytes_came(bench: "Bench", monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that wait while the model is dialled reach the tap as of when they came, and only they."""
    dial = bench.listener._dialler.dial

    async def slowly(*arguments: Any) -> Any:
        await asyncio.sleep(0.3)
        return await dial(*arguments)

    monkeypatch.setattr(bench.listener._dialler, "dial", slowly)
    client = await bench.client()
    await client.send(b"early")
    model = await bench.model()
    assert await model.receive(5) == b"early"
    await client.send(b"late")
    assert await model.receive(4) == b"late"
    ((early, came), (late, came_late)) = bench.taps[0].heard
    facts = bench.facts[0]
    assert (early, late) == (b"early", b"late")
    assert facts.accepted - 50_000_000 < came < facts.upstream_connected - 200_000_000
    assert came_late > facts.upstream_connected
    assert bench.row["model_wait_ns"] > 250_000_000


async def test_listening_that_ends_is_no_error(bench: "Bench", capfd: pytest.CaptureFixture[str]) -> None:
    """A listening socket that the parent has shut ends accepting at once, without complaint."""
    bench.listener._listening.shutdown(socket.SHUT_RDWR)
    await bench.until(lambda: not bench.listener.is_open)
    assert bench.row["accepting_paused"] == 0
    assert capfd.readouterr().err == ""


async def test_oldest_handshake_gives_way(bench: "Bench", monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that never finish their TLS handshake can't keep others out: the oldest of them is reset."""
    monkeypatch.setattr(listener_module, "GREETING_MAX", 2)
    bench.listener._tls = SelfSigned()  # type: ignore[assignment]
    silent = [await bench.client() for _ in range(2)]
    await bench.until(lambda: len(bench.listener._greeting) == 2)
    await bench.client()
    with pytest.raises(ConnectionResetError):
        await silent[0].receive(1)
    await bench.until(lambda: len(bench.listener._greeting) == 2)
    assert (bench.row["handshakes_dropped"], bench.row["tls_handshakes_failed"]) == (1, 1)
    assert bench.traffic.opening == 2


class SelfSigned:
    """TLS for clients that will not get far."""

    def __init__(self) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def context(self, protocols: tuple[str, ...]) -> ssl.SSLContext:
        return self._context
