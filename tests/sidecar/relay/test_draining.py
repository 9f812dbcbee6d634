"""The end of a relay: clients are asked to leave, idle connections end, calls finish, the rest is cut."""

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from sidecar.relay import draining

if TYPE_CHECKING:
    from tests.sidecar.relay.conftest import Bench, ScriptedTap


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(draining, "DOOR_SECONDS", 0.1)


def says(word: bytes) -> "object":
    def prepare(tap: "ScriptedTap") -> None:
        tap.says_at_drain = word

    return prepare


async def finish(bench: "Bench", seconds: float = 20, hurry: asyncio.Event | None = None) -> int:
    return await draining.finish(bench.traffic, seconds, hurry or asyncio.Event())


async def test_clients_are_asked_to_leave(bench: "Bench") -> None:
    """Every open connection's tap is told, and what it says reaches the client; those that come later too."""
    bench.prepare = says(b"GOAWAY")
    old, _ = await bench.joined()
    await bench.until(lambda: bool(bench.taps))
    draining.ask_to_leave(bench.traffic)
    assert await old.receive(6) == b"GOAWAY"
    late, model = await bench.joined()
    assert await late.receive(6) == b"GOAWAY"
    await late.send(b"still")
    assert await model.receive(5) == b"still"


async def test_idle_connections_end_in_order(bench: "Bench") -> None:
    """A connection without a call ends on both sides; nothing is cut."""
    client, model = await bench.joined()
    await bench.until(lambda: bool(bench.taps))
    draining.ask_to_leave(bench.traffic)
    assert await finish(bench) == 0
    assert await client.receive_all() == b""
    assert await model.receive_all() == b""


async def test_open_call_is_waited_for(bench: "Bench") -> None:
    """A connection whose tap has a call open goes on, and ends once the call is over."""
    client, model = await bench.joined()
    await client.send(b"question")
    assert await model.receive(8) == b"question"
    bench.taps[0].is_idle = False
    draining.ask_to_leave(bench.traffic)
    ending = asyncio.create_task(finish(bench))
    await model.send(b"half ")
    assert await client.receive(5) == b"half "
    done, _ = await asyncio.wait([ending], timeout=0.3)
    assert not done
    await model.send(b"answer")
    assert await client.receive(6) == b"answer"
    bench.taps[0].is_idle = True
    assert await ending == 0
    assert await client.receive_all() == b""


async def test_connection_in_use_is_not_idle(bench: "Bench", monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two calls of a busy client the connection stays: bytes passed a moment ago."""
    monkeypatch.setattr(draining, "IDLE_SECONDS", 30)
    client, model = await bench.joined()
    await bench.until(lambda: bool(bench.taps))
    draining.ask_to_leave(bench.traffic)
    ending = asyncio.create_task(finish(bench, seconds=200))
    for _ in range(5):
        await client.send(b"q")
        assert await model.receive(1) == b"q"
        await asyncio.sleep(0.03)
    assert not ending.done()
    client.close()
    model.close()
    assert await ending == 0


async def test_time_is_up(bench: "Bench") -> None:
    """When the time is up what is open is broken off, so that half an answer never looks like a whole one."""
    client, model = await bench.joined()
    await bench.until(lambda: bool(bench.taps))
    tap = bench.taps[0]
    tap.is_idle = False
    bench.row["open"] = 1
    settle = tap.lost

    def lost(by: object, now: int) -> None:
        bench.row["open"] -= 1
        settle(by, now)  # type: ignore[arg-type]

    tap.lost = lost  # type: ignore[method-assign]
    draining.ask_to_leave(bench.traffic)
    assert await finish(bench, seconds=0.1) == 1
    with pytest.raises(ConnectionResetError):
        await client.receive(1)
    with pytest.raises(ConnectionResetError):
        await model.receive(1)


async def test_second_signal_hurries(bench: "Bench") -> None:
    """Told to hurry, nobody is waited for."""
    await bench.joined()
    await bench.until(lambda: bool(bench.taps))
    bench.taps[0].is_idle = False
    hurry = asyncio.Event()
    ending = asyncio.create_task(finish(bench, hurry=hurry))
    hurry.set()
    assert await ending == 0
    await bench.until(lambda: bench.row["connections_open"] == 0)


async def test_last_word_of_the_tap(bench: "Bench") -> None:
    """Right before an idle connection ends its tap is asked once more, and what it says goes out."""
    client, _ = await bench.joined()
    await bench.until(lambda: bool(bench.taps))
    draining.ask_to_leave(bench.traffic)
    bench.taps[0].says_at_drain = b"last word"
    assert await finish(bench) == 0
    assert await client.receive_all() == b"last word"


async def test_fault_while_draining_is_no_fault_of_traffic(bench: "Bench") -> None:
    """A tap that raises when it is told to drain is taken out, and its connection is not cut."""
    client, model = await bench.joined()
    await bench.until(lambda: bool(bench.taps))

    def fail(now: int) -> bytes:
        raise LookupError

    bench.taps[0].drain = fail  # type: ignore[method-assign]
    draining.ask_to_leave(bench.traffic)
    ending = asyncio.create_task(finish(bench))
    await client.send(b"unfollowed")
    assert await model.receive(10) == b"unfollowed"
    client.close()
    model.close()
    assert await ending == 0
    assert bench.row["tap_faults"] == 1


async def test_who_is_in_is_accepted_until_the_door_is_shut(bench: "Bench") -> None:
    """Clients queued when the end begins are served; once the socket is shut accepting is over."""
    accepting = asyncio.create_task(draining.accept_the_rest([bench.listener]))
    client, model = await bench.joined()
    bench.listener._listening.shutdown(socket.SHUT_RDWR)
    await accepting
    assert not bench.listener.is_open
    await client.send(b"in time")
    assert await model.receive(7) == b"in time"


async def test_relay_that_ends_alone_leaves_the_rest_queued(bench: "Bench") -> None:
    """Where nobody shuts the door accepting ends by itself, and the queue is left to the other relays."""
    await draining.accept_the_rest([bench.listener])
    assert not bench.listener.is_open
    await bench.client()
    bench.listener.start()
    await bench.model()
